import { anySessionSchema, type Drain, drainRequestSchema, drainSchema } from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Sessions } from '../../sessions/sessions.ts'
import { kernelNotFound, kernelParams, noBody, toKernelId } from '../kernel-id.ts'
import { adminOnly } from '../openapi.ts'

/** The sessions of all keys, and whether there may be more. */
export async function adminSessionRoutes(
  app: FastifyInstance,
  { sessions }: { sessions: Sessions },
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const tellDrain = (): Drain => {
    const { state } = sessions.drain
    return {
      draining: state !== undefined,
      since: state ? new Date(state.since).toISOString() : null,
      stop: state?.stop ?? false,
      sessions: sessions.count(),
    }
  }
  const drained = { 200: drainSchema, ...adminOnly }

  routes.get(
    '/v1/admin/sessions',
    {
      schema: {
        summary: 'The live sessions of all keys',
        response: { 200: z.object({ sessions: z.array(anySessionSchema) }), ...adminOnly },
      },
    },
    async () => {
      const all = await sessions.listAll()
      return { sessions: all.map(({ owner, info }) => ({ accessKey: owner, ...info })) }
    },
  )
  routes.delete(
    '/v1/admin/sessions/:id',
    {
      config: { audit: 'session.end' },
      schema: {
        summary: "End a session, whoever's it is",
        params: kernelParams,
        body: noBody,
        response: { 204: z.null(), ...adminOnly, ...kernelNotFound },
      },
    },
    async ({ params: { id } }, reply) => {
      await sessions.destroyAny(toKernelId(id))
      return reply.code(204).send(null)
    },
  )
  routes.get('/v1/admin/drain', { schema: { summary: 'How far a drain is', response: drained } }, async () =>
    tellDrain(),
  )
  routes.post(
    '/v1/admin/drain',
    {
      config: { audit: 'server.drain' },
      schema: {
        summary: 'Take no new sessions; those there are go on',
        body: drainRequestSchema,
        response: drained,
      },
    },
    async ({ body }) => {
      sessions.drain.begin(body?.stop ?? false)
      return tellDrain()
    },
  )
  routes.delete(
    '/v1/admin/drain',
    {
      config: { audit: 'server.undrain' },
      schema: { summary: 'Take new sessions again', body: noBody, response: drained },
    },
    async () => {
      sessions.drain.undo()
      return tellDrain()
    },
  )
}
