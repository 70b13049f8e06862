import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** A command at a terminal of its own, as a user has it. */
export interface Tty {
  /** What stands on it so far, escape sequences left out. */
  shown(): string
  /** Types, as far as keys have an effect on the terminal that the command has set. */
  type(keys: string): void
  /** Resolves when `text` has come after all that was waited for before. */
  until(text: string): Promise<void>
  /** The exit status. */
  readonly ended: Promise<number>
  kill(): void
}

/** Gives the command of its arguments a terminal of so many rows and columns, and its own standard input and output the other side. */
const PTY = `
import fcntl, os, pty, select, sys, termios, struct
rows, columns, *argv = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', int(rows), int(columns), 0, 0))
    os.execvp(argv[0], argv)
ways = {0: fd, fd: 1}
while fd in ways:
    for ready in select.select(list(ways), (), ())[0]:
        try:
            data = os.read(ready, 65536)
        except OSError:
            data = b''  # the other side has closed it
        if data: os.write(ways[ready], data)
        else: del ways[ready]
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`
const GIVE_UP_MS = 10_000
// Of colours, the cursor and its ways.
const ESCAPES = new RegExp(`${'\x1b'}\\[[0-9;?]*[A-Za-z]`, 'g')

export function openTty(
  argv: readonly string[],
  options: { env: Record<string, string | undefined>; cwd: string; rows?: number; columns?: number },
): Tty {
  const { env, cwd, rows = 24, columns = 80 } = options
  const child = spawn('/usr/bin/python3', ['-c', PTY, String(rows), String(columns), ...argv], { env, cwd })
  let shown = ''
  let seen = 0
  let changed = Promise.withResolvers<void>()
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      changed.resolve()
      changed = Promise.withResolvers()
    })
  const bare = (): string => shown.replace(ESCAPES, '').replaceAll('\r', '')
  const ended = once(child, 'close').then(([status]) => {
    changed.resolve()
    return Number(status)
  })
  return {
    shown: bare,
    type: (keys) => child.stdin.write(keys),
    async until(text) {
      const giveUp = AbortSignal.timeout(GIVE_UP_MS)
      for (;;) {
        const at = bare().indexOf(text, seen)
        if (at >= 0) {
          seen = at + text.length
          return
        }
        const missing = new Promise<never>((_, reject) => {
          giveUp.addEventListener('abort', () => reject(new Error(`no ${text} in ${bare()}`)), { once: true })
        })
        if (child.exitCode !== null) throw new Error(`it ended without ${text}: ${bare()}`)
        await Promise.race([changed.promise, missing])
      }
    },
    ended,
    kill: () => child.kill(),
  }
}
