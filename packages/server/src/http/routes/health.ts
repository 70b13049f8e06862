import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'
import type { Metrics } from '../../observe/metrics.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import type { Store } from '../../store/store.ts'
import { type MetricsAccess, mayReadMetrics } from '../metrics-access.ts'
import { adminOnly } from '../openapi.ts'

const state = z.object({ status: z.literal('ok') })
const isPublic = { config: { isPublic: true } }
/** Who asks more often is told the same again: each time something is written. */
const CHECK_EVERY_MS = 1000

/** `/healthz`: the process answers. `/readyz`: it takes new sessions: it is neither closing nor drained, and can keep its records. `/metrics`: its figures. And what describes the API itself. */
export async function healthRoutes(
  app: FastifyInstance,
  {
    ready,
    sessions,
    store,
    metrics,
    metricsAccess,
  }: {
    ready: () => boolean
    sessions: Sessions
    store: Pick<Store, 'check'>
    metrics: Metrics
    metricsAccess: MetricsAccess
  },
): Promise<void> {
  const checkStore = oncePer(CHECK_EVERY_MS, () => store.check())
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const describe = (summary: string) => ({
    ...isPublic,
    schema: { summary, security: [], response: { 200: state } },
  })
  routes.get('/healthz', describe('Whether the server is alive'), async () => ({ status: 'ok' as const }))
  routes.get('/readyz', describe('Whether the server takes requests'), async () => {
    if (!ready()) throw CobError.of('shutting-down', {})
    sessions.drain.throwIfDraining()
    checkStore()
    return { status: 'ok' as const }
  })
  routes.get(
    '/metrics',
    {
      config: { isPublic: (request) => mayReadMetrics(metricsAccess, request) },
      schema: {
        summary: 'Figures of the server',
        description:
          'Without a key to whom the setting COB_METRICS says, by default to this machine; to others with a key that has the role admin.',
        security: [{}, { bearer: [] }, { signature: [] }],
        response: {
          ...adminOnly,
          200: { description: "Prometheus' text format", content: { 'text/plain': { schema: z.string() } } },
        },
      },
    },
    async (request, reply) => {
      if (!mayReadMetrics(metricsAccess, request) && request.role !== 'admin')
        throw CobError.of('forbidden', { role: request.role })
      return reply.type(metrics.contentType).send(await metrics.text(sessions))
    },
  )
  app.get('/openapi.json', { ...isPublic, schema: { hide: true } }, async () => app.swagger())
}

/** Between two calls of `check` its outcome stays what it was. */
function oncePer(everyMs: number, check: () => void): () => void {
  let checkedAt = Number.NEGATIVE_INFINITY
  let fault: unknown
  return () => {
    if (performance.now() - checkedAt >= everyMs) {
      checkedAt = performance.now()
      fault = undefined
      try {
        check()
      } catch (error) {
        fault = error
      }
    }
    if (fault !== undefined) throw fault
  }
}
