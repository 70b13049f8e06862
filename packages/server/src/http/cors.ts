import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import { isUpgrade } from './upgrades.ts'

/** What clients send beside what browsers let any page send. */
const REQUEST_HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'if-none-match',
  'if-range',
  'last-event-id',
  'prefer',
  'range',
  'traceparent',
  'tracestate',
  'x-request-id',
  'x-sorna-date',
  'x-sorna-version',
].join(', ')
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const EXPOSED_HEADERS = [
  'accept-ranges',
  'allow',
  'content-disposition',
  'content-length',
  'content-range',
  'etag',
  'last-modified',
  'preference-applied',
  'retry-after',
  'www-authenticate',
  'x-execution-id',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'x-request-id',
].join(', ')
/** s a browser may remember an answer to what it asked before a request. */
const MAX_AGE_S = 600

/**
 * Lets pages of these origins read answers (Fetch, 3.2), and open WebSockets, which browsers let every page open and no header of ours would stop.
 * Pages of others get neither, those of this server's own origin apart. Never with credentials of the browser's: keys come in a header.
 */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  const allowed: ReadonlySet<string> = new Set(origins)
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers
    if (allowed.size > 0) reply.header('vary', 'origin')
    if (origin === undefined) return
    if (allowed.has(origin)) {
      reply.headers({
        'access-control-allow-origin': origin,
        'access-control-expose-headers': EXPOSED_HEADERS,
      })
      if (isPreflight(request)) {
        reply.headers({
          'access-control-allow-methods': METHODS,
          'access-control-allow-headers': REQUEST_HEADERS,
          'access-control-max-age': MAX_AGE_S,
        })
        return reply.code(204).send()
      }
    } else if (isUpgrade(request.raw) && !isOwn(origin, request.headers.host)) {
      throw CobError.of('origin-refused', { origin: origin.slice(0, 200) })
    }
  })
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
}

/** A page that this server answered. */
function isOwn(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase()
}
