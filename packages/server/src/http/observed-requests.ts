import type { FastifyInstance } from 'fastify'
import type { HttpMetrics } from '../observe/http-metrics.ts'
import type { Logger } from '../observe/logger.ts'
import { idsOf } from './request-ids.ts'

/** Counts and logs what has been answered. Of a path only what names a kernel or an execution is logged: the rest may be anybody's secret. */
export function observeRequests(
  app: FastifyInstance,
  { metrics, logger }: { readonly metrics: HttpMetrics; readonly logger: Logger },
): void {
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions } = request
    const { statusCode: status, elapsedTime: durationMs } = reply
    metrics.answered({ route: routeOptions.url, method, status, durationMs })
    if (!logger.isLevelEnabled('debug')) return
    const executionId = reply.getHeader('x-execution-id')
    logger.debug(
      {
        requestId: request.id,
        ...(request.owner !== '' && { owner: request.owner }),
        method,
        route: routeOptions.url,
        ...idsOf(request),
        ...(typeof executionId === 'string' && { executionId }),
        status,
        ms: durationMs,
      },
      'Answered a request.',
    )
  })
}
