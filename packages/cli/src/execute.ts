import type { ExecutionEvent } from '@cob/protocol'
import type { Client } from './client.ts'
import type { InputReader } from './input.ts'
import type { MediaShower } from './media.ts'

export interface ExecuteOptions {
  readonly client: Client
  readonly kernelId: string
  readonly media: MediaShower
  readonly input: InputReader
  /** Aborted when nobody looks any more. */
  readonly signal?: AbortSignal
  /** Also show the value of a last expression. */
  readonly showsValue: boolean
}

export interface Outcome {
  readonly hasFailed: boolean
  readonly wasInterrupted: boolean
  /** The kernel is gone. */
  readonly hasEnded: boolean
}

/** Runs code and shows what comes as it comes; asks here for what the code asks for. */
export async function execute(code: string, options: ExecuteOptions): Promise<Outcome> {
  const failed = Promise.withResolvers<never>()
  return Promise.race([show(code, options, failed.reject), failed.promise])
}

async function show(
  code: string,
  { client, kernelId, media, input, signal, showsValue }: ExecuteOptions,
  fail: (reason: unknown) => void,
): Promise<Outcome> {
  let hasFailed = false
  let asking = new AbortController()
  const answer = async (event: Extract<ExecutionEvent, { type: 'input-request' }>): Promise<void> => {
    asking = new AbortController()
    const { prompt, password: isPassword } = event
    const text = await input.ask({ prompt, isPassword, signal: asking.signal })
    // Code may stop waiting while somebody types.
    if (text !== undefined) await client.input(kernelId, text)
  }
  for await (const event of client.execute(kernelId, code)) {
    if (event.type === 'input-request' || event.type === 'finished') asking.abort()
    if (signal?.aborted) break
    switch (event.type) {
      case 'stream':
        await write(event.name === 'stdout' ? process.stdout : process.stderr, event.text)
        break
      case 'display':
        media.show(event.data)
        break
      case 'result':
        if (showsValue) media.show(event.data)
        break
      case 'error':
        hasFailed = true
        await write(
          process.stderr,
          `${(event.traceback.join('') || `${event.name}: ${event.args[0] ?? ''}`).trimEnd()}\n`,
        )
        break
      case 'input-request':
        // Beside what else comes, such as the end of code that was interrupted.
        answer(event).catch(fail)
        break
      case 'finished': {
        const wasInterrupted = event.status === 'interrupted'
        const hasEnded = event.status === 'terminated' && event.reason !== 'restarted'
        if (event.status === 'terminated') {
          const what =
            event.reason === 'restarted' ? 'the kernel was restarted' : `the kernel ended: ${event.reason}`
          await write(process.stderr, `cob: ${what}\n`)
        }
        return { hasFailed: hasFailed || event.status !== 'finished', wasInterrupted, hasEnded }
      }
      default:
    }
  }
  if (signal?.aborted) return { hasFailed: true, wasInterrupted: false, hasEnded: false }
  throw new Error('the execution has no end')
}

/** Waits for a slow reader of ours, so that the code does. */
function write(stream: NodeJS.WriteStream, text: string): Promise<void> | undefined {
  if (stream.write(text)) return undefined
  return new Promise((resolve) => {
    stream.once('drain', resolve)
    stream.once('error', () => resolve())
  })
}
