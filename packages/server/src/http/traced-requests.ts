import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RequestSpan, Tracing } from '../observe/tracing.ts'
import { idsOf } from './request-ids.ts'
import { isUpgrade } from './upgrades.ts'

/** Makes each request a span, WebSockets apart, which may last for days. Before all other hooks. */
export function traceRequests(app: FastifyInstance, tracing: Tracing): void {
  const spans = new WeakMap<FastifyRequest, RequestSpan>()
  app.addHook('onRequest', async (request, reply) => {
    if (isUpgrade(request.raw)) return
    const { id: requestId, method, headers } = request
    const span = tracing.startRequest({ requestId, method, headers })
    spans.set(request, span)
    // Also when nobody waits for the answer any more.
    reply.raw.once('close', () =>
      span.end({
        route: request.routeOptions.url,
        status: reply.raw.statusCode,
        kernelId: idsOf(request).kernelId,
      }),
    )
  })
  // The last hook before the handler: what comes before waits for the body, and has another context then.
  app.addHook('preHandler', (request, _reply, done) => {
    const span = spans.get(request)
    if (span) span.run(done)
    else done()
  })
}
