import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { CobError } from '../errors.ts'
import { PROTECTION_LINES } from './browser-protection.ts'
import { PROBLEM_TYPE, toProblem } from './problem.ts'

/** How long a client may take to close its side. */
const GOODBYE_MS = 1000
/** What it may go on sending meanwhile. */
const GOODBYE_BYTES = 1024 ** 3

/** Answers what is no HTTP request, or came too slowly to be one, and ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
  else refuseConnection(toCobError(error.code), socket)
}

/** Ends a connection with this as its last answer, whatever is under way on it. Nothing more of it is parsed. */
export function refuseConnection(problem: CobError, socket: Socket): void {
  if (!socket.writable) return
  const requestId = randomUUID()
  const body = JSON.stringify(toProblem(problem, requestId))
  endConnection(
    socket,
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      `Content-Type: ${PROBLEM_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${requestId}`,
      'Cache-Control: no-store',
      ...PROTECTION_LINES,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}

/** Ends a connection after `last` and what was written before it, and reads on for `readOnMs`, but not more than 1 GiB. */
export function endConnection(socket: Socket, last = '', readOnMs: number = GOODBYE_MS): void {
  // A connection that is closed while its client still sends is reset, and the answer may be lost with it (RFC 9112, 9.6): read on for
  // a while. A listener of our own takes the bytes from the parser, which would complain about each piece of them.
  const most = socket.bytesRead + GOODBYE_BYTES
  socket.removeAllListeners('data').on('data', () => {
    if (socket.bytesRead > most) socket.destroy()
  })
  socket.once('end', () => socket.destroy())
  const timer = setTimeout(() => socket.destroy(), readOnMs).unref()
  socket.once('close', () => clearTimeout(timer))
  socket.end(last)
}

function toCobError(code: string | undefined): CobError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return CobError.of('headers-too-large', {})
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return CobError.of('request-timeout', {})
    default:
      return CobError.of('malformed-http', { problem: code ?? 'no reason given' })
  }
}
