import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

const COB = path.resolve(import.meta.dirname, '../../packages/cli/bin/cob.mjs')
/** As `npm start` and the command have it. */
const NODE_FLAGS = ['--max-semi-space-size=8']

/** `cob serve` as a process of its own, as a user has it. */
export interface ServerProcess {
  readonly url: string
  readonly key: string
  readonly pid: number
  /** Its exit status, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals | null>
  /** Everything it printed on standard output so far. */
  output(): string
  /** Everything it printed on standard error so far: its log. */
  log(): string
  /** Resolves with the exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  /** Sends the signal and resolves as `ended`. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

export async function startServerProcess(
  dataDir: string,
  environment: Record<string, string> = {},
  /** A command that runs the one behind it. */
  wrapper: readonly string[] = [],
): Promise<ServerProcess> {
  const [program = '', ...args] = [...wrapper, process.execPath, ...NODE_FLAGS, COB, 'serve']
  const child: ChildProcess = spawn(program, args, {
    env: {
      PATH: process.env.PATH,
      HOME: dataDir,
      // Where starting takes long, as in an emulated machine, this halves it.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      COB_PORT: '0',
      COB_LOG_LEVEL: 'error',
      COB_DATA_DIR: dataDir,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endWithUs(child)
  let output = ''
  let errors = ''
  const exited = once(child, 'exit')
  const started = new Promise<void>((resolve, reject) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('6 * 7')) resolve()
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    exited.then(
      ([status, signal]) => reject(new Error(`cob serve ended with ${status ?? signal}: ${errors}`)),
      reject,
    )
  })
  await started
  const ended = exited.then(
    ([status, signal]: (number | NodeJS.Signals | null)[]) => status ?? signal ?? null,
  )
  return {
    url: /listens on +(\S+)/.exec(output)?.[1] ?? '',
    key: /Key +(\S+)/.exec(output)?.[1] ?? '',
    pid: child.pid ?? 0,
    exited: exited.then(([status, signal]) => status ?? signal),
    output: () => output,
    log: () => errors,
    ended,
    end(signal) {
      child.kill(signal)
      return ended
    },
  }
}

/** Ends a child where this process ends without having done so, as a test that throws or a benchmark that is stopped. */
export function endWithUs(child: ChildProcess): void {
  const end = (): void => void child.kill('SIGINT')
  process.on('exit', end)
  child.on('exit', () => process.off('exit', end))
}
