import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'

/** The protocol revision clients of 2016 know. */
const API_VERSION = 'v1.20160915'

const versionSchema = z.object({
  version: z.string(),
  server: z.object({ name: z.string(), version: z.string() }),
})
const echoSchema = z.strictObject({ echo: z.string() })

/** What a client asks first: which API this is, and whether its key is good. */
export async function authorizeRoutes(app: FastifyInstance, { version }: { version: string }): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  routes.get(
    '/v1',
    {
      config: { isPublic: true },
      schema: {
        summary: 'The version of the API and the server',
        security: [],
        response: { 200: versionSchema },
      },
    },
    async () => ({ version: API_VERSION, server: { name: 'cob', version } }),
  )
  routes.get(
    '/v1/authorize',
    {
      // HEAD has no body to check.
      exposeHeadRoute: false,
      schema: {
        summary: 'Whether the key is good',
        description: 'A GET with a JSON body, as clients of this API have sent since 2016.',
        body: echoSchema,
        response: { 200: z.object({ authorized: z.literal('yes'), echo: z.string() }) },
      },
    },
    async ({ body }) => ({ authorized: 'yes' as const, echo: body.echo }),
  )
}
