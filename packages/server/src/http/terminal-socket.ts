import { type TerminalOutput, type TerminalSize, terminalInputSchema } from '@cob/protocol'
import type { WebSocket } from 'ws'
import { CobError } from '../errors.ts'
import type { Terminal } from '../sessions/terminals.ts'
import { createTypeAhead } from './type-ahead.ts'
import { GOING_AWAY, NORMAL, sendJson } from './web-socket.ts'

/** Of a terminal whose client has not said what it has. */
const SIZE: TerminalSize = { rows: 24, cols: 80 }

/** Before the first words of a new shell. */
const NEW_LINE = Buffer.from('\r\n').toString('base64')

export interface TerminalSocketOptions {
  /** Rejects when the session is gone. */
  readonly open: (size: TerminalSize) => Promise<Terminal>
  readonly restart: () => Promise<void>
  readonly touch: () => void
}

/** A terminal over a WebSocket (spec/api.md, "Streams"). Closes when the shell ends; where a restart takes the shell away, a new one comes. */
export function serveTerminal(socket: WebSocket, { open, restart, touch }: TerminalSocketOptions): void {
  let size = SIZE
  let terminal: Terminal | undefined
  /** When there is one, if there will be. */
  let shell: Promise<void>
  /** When this one has ended. */
  let gone: Promise<void> | undefined

  const send = (message: TerminalOutput, onDrain?: () => void): boolean => sendJson(socket, message, onDrain)
  const fail = (error: unknown): void =>
    void send({ type: 'error', data: error instanceof CobError ? error.message : 'The terminal broke.' })
  const start = async (): Promise<void> => {
    let hasShown = false
    const asked = size
    const opened = await open(asked)
    if (socket.readyState !== socket.OPEN) {
      opened.close()
      return
    }
    terminal = opened
    if (size !== asked) opened.resize(size)
    const { output } = opened
    gone = new Promise((resolve) => output.once('close', resolve))
    let rest: Buffer = Buffer.alloc(0)
    output.on('data', (chunk: Buffer) => {
      hasShown = true
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const end = endOfCharacters(bytes)
      rest = bytes.subarray(end)
      if (end === 0) return
      const data = bytes.toString('base64', 0, end)
      if (!send({ type: 'out', data }, () => output.resume())) output.pause()
    })
    output.once('end', () => {
      const { exitStatus } = opened
      socket.close(NORMAL, `the shell has ended${exitStatus ? ` with status ${exitStatus}` : ''}`)
    })
    output.once('error', () => {
      terminal = undefined
      if (socket.readyState !== socket.OPEN) return
      // One that never got so far would not do so again.
      if (hasShown) {
        send({ type: 'out', data: NEW_LINE })
        startOrLeave()
      } else socket.close(GOING_AWAY, 'the shell was taken away')
    })
  }
  const startOrLeave = (): void => {
    shell = start().catch((error) => {
      fail(error)
      socket.close(GOING_AWAY, 'there is no shell')
    })
  }
  const obey = (data: Buffer): void => {
    const message = parseMessage(data)
    switch (message.type) {
      case 'stdin':
        typed.add(Buffer.from(message.chars, 'base64'))
        return
      case 'resize':
        size = { rows: message.rows, cols: message.cols }
        terminal?.resize(size)
        return
      case 'ping':
        touch()
        return
      case 'restart': {
        typed.clear()
        // What is typed from now on is for the shell that comes after this one.
        const restarted = Promise.all([restart(), gone]).catch(fail)
        typed.after(() => restarted)
        return
      }
      default:
        message satisfies never
    }
  }

  // Of messages only what is typed waits: a restart is wanted most where nothing is read.
  const typed = createTypeAhead({
    write: async (bytes) => {
      await shell
      await terminal?.type(bytes)
    },
    onRoom: (hasRoom) => (hasRoom ? socket.resume() : socket.pause()),
    onDrop: () =>
      void send({ type: 'error', data: 'Nothing reads what is typed; the rest of it is dropped.' }),
  })
  startOrLeave()
  socket.once('close', () => {
    typed.close()
    terminal?.close()
  })
  socket.on('message', (data: Buffer) => {
    // Closed on this side, whatever still comes from the other.
    if (socket.readyState !== socket.OPEN) return
    try {
      obey(data)
    } catch (error) {
      fail(error)
    }
  })
}

function parseMessage(data: Buffer) {
  let json: unknown
  try {
    json = JSON.parse(data.toString('utf8'))
  } catch {
    throw CobError.of('invalid-request', { problem: 'A message is not JSON; send an object with `type`.' })
  }
  const parsed = terminalInputSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw CobError.of('invalid-request', {
    problem: `A message is not understood: ${issue?.path.join('.') || 'it'}: ${issue?.message}. Its \`type\` is stdin with chars (base64), resize with rows and cols, ping or restart.`,
  })
}

/** Where the last whole character of UTF-8 ends; what is none counts as whole. */
function endOfCharacters(bytes: Buffer): number {
  for (let at = bytes.length - 1; at >= Math.max(0, bytes.length - 3); at--) {
    const byte = bytes[at] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return byte < 0xf8 && at + length > bytes.length ? at : bytes.length
  }
  return bytes.length
}
