import type { Problem } from '@cob/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import type { Logger } from '../observe/logger.ts'

/** Media type of every error (RFC 9457, 6.1). */
export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** The problem document of an error (RFC 9457). */
export function toProblem(error: CobError, requestId: string): Problem {
  return {
    type: `urn:cob:problem:${error.code}`,
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
    requestId,
    ...error.extra,
  }
}

/** Answers every error of a request; what is not a `CobError` or Fastify's own becomes `internal`, with details only in the log. */
export function createErrorHandler({
  logger,
  maxBodyBytes,
  onProblem,
}: {
  readonly logger: Logger
  readonly maxBodyBytes: number
  readonly onProblem: (code: string) => void
}) {
  return (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const error = toCobError(thrown, request, maxBodyBytes)
    onProblem(error.code)
    if (error.status >= 500 && error.code !== 'no-space')
      logger.warn({ err: thrown, requestId: request.id, code: error.code }, 'A request failed.')
    if (error.retryAfterS !== undefined) reply.header('retry-after', error.retryAfterS)
    return reply
      .code(error.status)
      .header('content-type', PROBLEM_TYPE)
      .serializer(String)
      .send(JSON.stringify(toProblem(error, request.id)))
  }
}

function toCobError(error: unknown, request: FastifyRequest, maxBodyBytes: number): CobError {
  if (error instanceof CobError) return error
  if (!(error instanceof Error)) return CobError.of('internal', {}, { cause: error })
  switch ('code' in error ? error.code : undefined) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return CobError.of('payload-too-large', { max: maxBodyBytes })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return CobError.of('unsupported-media-type', { type: request.headers['content-type'] ?? 'missing' })
    default:
  }
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  if (status < 400 || status >= 500) return CobError.of('internal', {}, { cause: error })
  return CobError.of('invalid-request', { problem: error.message }, { cause: error })
}
