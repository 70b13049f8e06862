import { once } from 'node:events'
import xterm from '@xterm/headless'
import { WebSocket } from 'ws'

/** A terminal as a user has it: what a program draws is drawn, and can be read from the screen. */
export interface TestTerminal {
  readonly socket: WebSocket
  /** What stands on the screen, a line each, without what is blank at the end. */
  screen(): string[]
  /** Everything that came, as text. */
  readonly raw: () => string
  /** Messages of type `error`. */
  readonly errors: string[]
  type(text: string): void
  send(message: unknown): void
  resize(rows: number, cols: number): void
  /** Resolves when the screen is as `isSo` wants it. */
  until(isSo: (lines: string[]) => boolean): Promise<void>
  /** The code and reason it was closed with. */
  readonly closed: Promise<{ code: number; reason: string }>
  close(): void
}

const GIVE_UP_MS = 20_000

export async function openTerminal(
  server: { url: string; key: string },
  kernel: string,
): Promise<TestTerminal> {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/stream/kernel/${kernel}/pty`, {
    headers: { authorization: `Bearer ${server.key}` },
  })
  const terminal = new xterm.Terminal({ rows: 24, cols: 80, allowProposedApi: true, scrollback: 0 })
  const errors: string[] = []
  let raw = ''
  let changed = Promise.withResolvers<void>()
  const closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }))
  const opened = once(socket, 'open')
  // The first message may come with the answer.
  socket.on('message', (data) => {
    const message = JSON.parse(String(data))
    if (message.type === 'error') errors.push(message.data)
    else {
      const bytes = Buffer.from(message.data, 'base64')
      raw += bytes.toString('utf8')
      terminal.write(bytes, () => changed.resolve())
    }
    changed.resolve()
  })
  // Programs ask what the terminal can do.
  terminal.onData((text) => type(text))
  const send = (message: unknown): void => socket.send(JSON.stringify(message))
  const type = (text: string): void =>
    send({ type: 'stdin', chars: Buffer.from(text, 'utf8').toString('base64') })
  const screen = (): string[] =>
    Array.from({ length: terminal.rows }, (_, row) =>
      (
        terminal.buffer.active.getLine(terminal.buffer.active.viewportY + row)?.translateToString(true) ?? ''
      ).trimEnd(),
    )
  await opened
  return {
    socket,
    screen,
    raw: () => raw,
    errors,
    type,
    send,
    resize(rows, cols) {
      terminal.resize(cols, rows)
      send({ type: 'resize', rows, cols })
    },
    async until(isSo) {
      const late = setTimeout(
        () => changed.reject(new Error(`the screen never became so:\n${screen().join('\n')}`)),
        GIVE_UP_MS,
      )
      try {
        while (!isSo(screen())) {
          await changed.promise
          changed = Promise.withResolvers<void>()
        }
      } finally {
        clearTimeout(late)
      }
    },
    closed,
    close: () => socket.close(),
  }
}
