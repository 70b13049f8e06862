import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'

const state = z.object({ status: z.literal('ok') })
const isPublic = { config: { isPublic: true } }

/** `/healthz`: the process answers. `/readyz`: it takes new sessions. And what describes the API itself. */
export async function healthRoutes(app: FastifyInstance, { ready }: { ready: () => boolean }): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const describe = (summary: string) => ({
    ...isPublic,
    schema: { summary, security: [], response: { 200: state } },
  })
  routes.get('/healthz', describe('Whether the server is alive'), async () => ({ status: 'ok' as const }))
  routes.get('/readyz', describe('Whether the server takes requests'), async () => {
    if (!ready()) throw CobError.of('shutting-down', {})
    return { status: 'ok' as const }
  })
  app.get('/openapi.json', { ...isPublic, schema: { hide: true } }, async () => app.swagger())
}
