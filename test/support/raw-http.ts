import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Problem } from '@cob/protocol'
import type { HttpFixture } from './http-fixture.ts'

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export type ProblemAnswer = Omit<RawAnswer, 'text'> & { readonly body: Problem }

/** A client that does as little as a client can: it never closes its side by itself. */
export function open({ port }: HttpFixture): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  return socket.on('error', () => {})
}

/** Unlike `once`, whatever went wrong before. */
export const closing = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()))

export const requestHead = ({ host }: HttpFixture, line: string, ...headers: string[]): string =>
  [`${line} HTTP/1.1`, `Host: ${host}`, ...headers, '', ''].join('\r\n')

/** As `readAnswer`, where the answer is a problem document, or its body does not matter. */
export async function readProblem(socket: Socket): Promise<ProblemAnswer> {
  const { text, ...answer } = await readAnswer(socket)
  return { ...answer, body: JSON.parse(text || 'null') }
}

/**
 * Reads one answer, `100 Continue` aside, and leaves the connection as it is; of a stream only the head. Throws for bytes after it, and for a connection that is
 * closed before it.
 */
export async function readAnswer(socket: Socket, { isHead = false } = {}): Promise<RawAnswer> {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n')
    if (end !== -1) {
      const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
      const status = Number(first.split(' ')[1])
      if (status === 100) {
        bytes = bytes.subarray(end + 4)
        continue
      }
      const headers = new Headers(
        lines.map((line): [string, string] => {
          const colon = line.indexOf(':')
          return [line.slice(0, colon), line.slice(colon + 1).trim()]
        }),
      )
      // A stream: its end may never come.
      if (headers.has('transfer-encoding')) return { status, headers, text: '' }
      const size = end + 4 + (isHead ? 0 : Number(headers.get('content-length') ?? 0))
      // Where HEAD itself could not be read, its answer has a body.
      if (bytes.length > size && !isHead) throw new Error(`more than one answer: ${bytes.subarray(size)}`)
      if (bytes.length >= size) return { status, headers, text: bytes.toString('utf8', end + 4) }
    }
    bytes = Buffer.concat([bytes, await nextChunk(socket)])
  }
}

async function nextChunk(socket: Socket): Promise<Buffer> {
  const over = new AbortController()
  const closed = (): void => over.abort(new Error('closed without an answer'))
  socket.once('close', closed)
  try {
    const [chunk] = await once(socket.resume(), 'data', { signal: over.signal })
    return chunk
  } finally {
    socket.off('close', closed)
  }
}
