import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import type { Logger } from '../observe/logger.ts'

const MEDIA_TYPE = 'application/problem+json; charset=utf-8'

/** The problem document of an error (RFC 9457). */
function toDocument(error: CobError, requestId: string): string {
  return JSON.stringify({
    type: `urn:cob:problem:${error.code}`,
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
    requestId,
    ...error.extra,
  })
}

/** Answers every error of a request; what is not a `CobError` or Fastify's own becomes `internal`, with details only in the log. */
export function createErrorHandler(logger: Logger, maxBodyBytes: number) {
  return (thrown: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const error = toCobError(thrown, request, maxBodyBytes)
    if (error.status >= 500)
      logger.warn({ err: thrown, requestId: request.id, code: error.code }, 'A request failed.')
    if (error.retryAfterS !== undefined) reply.header('retry-after', error.retryAfterS)
    return reply
      .code(error.status)
      .header('content-type', MEDIA_TYPE)
      .serializer(String)
      .send(toDocument(error, request.id))
  }
}

function toCobError(error: FastifyError | Error, request: FastifyRequest, maxBodyBytes: number): CobError {
  if (error instanceof CobError) return error
  const code = 'code' in error ? error.code : undefined
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return CobError.of('payload-too-large', { max: maxBodyBytes })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return CobError.of('unsupported-media-type', { type: request.headers['content-type'] ?? 'missing' })
    default:
  }
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  if (status >= 400 && status < 500)
    return CobError.of('invalid-request', { problem: error.message }, { cause: error })
  return CobError.of('internal', {}, { cause: error })
}

/** Answers what is no HTTP request at all, and closes the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const body = JSON.stringify({
    type: 'urn:cob:problem:invalid-request',
    title: STATUS_CODES[status],
    status,
    detail: `This is not an HTTP request the server can read (${error.code ?? 'unknown'}).`,
    code: 'invalid-request',
    requestId: 'none',
  })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${MEDIA_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
