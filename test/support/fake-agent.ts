import type { Duplex } from 'node:stream'
import { type AgentEvent, type AgentRequest, type Attached, agentRequestSchema } from '@cob/protocol'
import { encodeJsonFrame, FrameDecoder } from '../../packages/server/src/channel/framing.ts'
import { type FakeFiles, serveFiles } from './fake-files.ts'

type Unnumbered = AgentEvent extends infer E ? (E extends unknown ? Omit<E, 'seq'> : never) : never

/**
 * An agent without a sandbox. Its language has one word a line: `print TEXT`, `value TEXT`, `raise NAME`,
 * `ask PROMPT`, `offer PROMPT` (does not wait for the answer), `hang`, `crash`, `oom`, `garbage`, `set NAME`, `get NAME`.
 */
export interface FakeAgent {
  /** Forgets what was acknowledged, as the real agent does where there is much of it. */
  forget(): void
  /** Serves one connection. One that attaches replaces the earlier one, as the real agent has it; others carry files. */
  serve(stream: Duplex): void
  /** Breaks the connection as a fault would. */
  disconnect(): void
  stop(): void
}

export function createFakeAgent(onDeath: (why: 'crash' | 'oom') => void): FakeAgent {
  const ring: AgentEvent[] = []
  let acknowledged = 0
  let last: string | null = null
  let cut: Attached['cut'] = null
  let lastOutputAt = performance.now()
  let state: Attached['state'] = 'ready'
  const files: FakeFiles = new Map()
  let stream: Duplex | undefined
  let seq = 0
  let running: string | undefined
  let variables = new Set<string>()
  let waiting: ((text: string) => void) | undefined
  let generation = 0
  let stopped = false

  const emit = (event: Unnumbered): void => {
    if (stopped) return
    seq++
    // The event lacked nothing but its number.
    const numbered = { ...event, seq } as AgentEvent
    ring.push(numbered)
    if (event.type !== 'reply') lastOutputAt = performance.now()
    stream?.write(encodeJsonFrame(numbered))
  }

  const run = async (id: string, code: string): Promise<void> => {
    const mine = generation
    const alive = (): boolean => generation === mine && !stopped
    let status: 'ok' | 'error' = 'ok'
    for (const line of code.split('\n')) {
      await new Promise(setImmediate)
      if (!alive()) return
      const [word, ...rest] = line.split(' ')
      const text = rest.join(' ')
      switch (word) {
        case 'print':
          emit({ id, type: 'stream', name: 'stdout', text: `${text}\n` })
          break
        case 'value':
          emit({ id, type: 'execute_result', data: { 'text/plain': text }, metadata: {} })
          break
        case 'raise':
          emit({ id, type: 'error', name: text, args: [], traceback: [], before: false })
          status = 'error'
          break
        case 'set':
          variables.add(text)
          break
        case 'get':
          emit({ id, type: 'stream', name: 'stdout', text: `${variables.has(text)}\n` })
          break
        case 'ask': {
          const answer = await new Promise<string>((resolve) => {
            waiting = resolve
            emit({ id, type: 'input_request', prompt: text, password: false })
          })
          if (!alive()) return
          emit({ id, type: 'stream', name: 'stdout', text: `${answer}\n` })
          break
        }
        case 'offer':
          emit({ id, type: 'input_request', prompt: text, password: false })
          await turns()
          if (!alive()) return
          break
        case 'hang':
          return
        case 'garbage':
          stream?.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0]))
          return
        case 'crash':
        case 'oom':
          onDeath(word)
          state = 'dead'
          running = undefined
          emit({ id: null, type: 'status', state: 'dead', exit: null, signal: 9 })
          return
        default:
      }
    }
    running = undefined
    emit({ id, type: 'execute_reply', status, durationMs: 0 })
  }

  const obey = (request: AgentRequest): void => {
    switch (request.method) {
      case 'attach': {
        const attached = {
          type: 'attached',
          id: request.id,
          protocol: 1,
          state,
          execution: running ?? null,
          last,
          asking: waiting !== undefined,
          quietMs: performance.now() - lastOutputAt,
          cut,
          first: Math.max(request.params.after + 1, ring[0]?.seq ?? seq + 1),
          next: seq + 1,
        }
        stream?.write(encodeJsonFrame(attached))
        for (const event of ring) if (event.seq > request.params.after) stream?.write(encodeJsonFrame(event))
        return
      }
      case 'ack':
        acknowledged = request.params.seq
        return
      case 'execute':
        if (running) emit({ id: request.id, type: 'fail', code: 'busy', message: 'busy' })
        else void run(request.id, request.params.code)
        running ??= request.id
        last = request.id
        return
      case 'input':
        waiting?.(request.params.text)
        waiting = undefined
        break
      case 'interrupt':
        generation++
        waiting = undefined
        void turns().then(() => {
          running = undefined
          emit({ id: request.params.execution, type: 'execute_reply', status: 'interrupted', durationMs: 0 })
        })
        break
      case 'restart':
        generation++
        running = undefined
        state = 'ready'
        waiting = undefined
        variables = new Set()
        break
      default:
    }
    setImmediate(() => emit({ id: request.id, type: 'reply', result: {} }))
  }

  emit({ id: null, type: 'status', state: 'ready' })
  return {
    serve(next) {
      const decoder = new FrameDecoder()
      const takeFile = serveFiles(files, next)
      next.on('error', () => {})
      next.on('data', (chunk: Buffer) => {
        for (const frame of decoder.push(chunk)) {
          if (frame.kind === 'json' && Object(frame.json).method === 'attach') {
            stream?.destroy()
            stream = next
          }
          if (stream !== next) takeFile(frame)
          else if (frame.kind === 'json') obey(agentRequestSchema.parse(frame.json))
        }
      })
      next.once('end', () => next.end())
    },
    forget() {
      for (let first = ring[0]; first && first.seq <= acknowledged; first = ring[0]) {
        ring.shift()
        if (first.id === null || first.type === 'reply' || first.type === 'fail') continue
        cut = { id: first.id, count: cut?.id === first.id ? cut.count + 1 : 1 }
      }
    },
    disconnect: () => stream?.end(),
    stop() {
      stopped = true
      generation++
      stream?.destroy()
    },
  }
}

/** Longer than a message takes. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate)
}
