import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parse } from 'secure-json-parse'
import { CobError } from '../errors.ts'
import type { Bodies } from './bodies.ts'

const BYTE_ORDER_MARK = '\ufeff'

/** Takes JSON bodies as the bytes they came in: a signature is over those, and nothing is parsed for a stranger. */
export function acceptJsonBodies(app: FastifyInstance, { gather }: Bodies): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', gather)
  // No bytes are no body, whatever type they are said to be of.
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: Readable) => {
    const body = await gather(request, payload)
    const type = request.headers['content-type'] ?? 'missing'
    if (body.length > 0) throw CobError.of('unsupported-media-type', { type })
    return body
  })
}

/** The bytes of the body; empty if there is none. Only before `parseBody`. */
export function rawBody(request: FastifyRequest): Buffer {
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
}

/** The JSON value of the body, undefined for one of no bytes. Throws what is wrong with it. */
export function parseBody(request: FastifyRequest): unknown {
  const raw = rawBody(request)
  if (
    request.headers['content-encoding'] !== undefined &&
    request.headers['content-encoding'] !== 'identity'
  ) {
    throw CobError.of('unsupported-media-type', { type: `${request.headers['content-encoding']}-encoded` })
  }
  const charset = /charset\s*=\s*"?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw CobError.of('unsupported-media-type', { type: request.headers['content-type'] ?? '' })
  }
  if (raw.length === 0) return undefined
  if (!isUtf8(raw)) throw CobError.of('invalid-utf8', {})
  const text = raw.toString('utf8')
  try {
    return parse(text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text, null, {
      protoAction: 'error',
      constructorAction: 'error',
    })
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause)
    throw CobError.of('invalid-json', { problem: problem.slice(0, 200) }, { cause })
  }
}
