import { langInfoSchema } from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Langs } from '../../langs/lang.ts'

export async function langRoutes(app: FastifyInstance, { langs }: { langs: Langs }): Promise<void> {
  app.withTypeProvider<ZodTypeProvider>().get(
    '/v1/langs',
    {
      schema: {
        summary: 'The kernel types of this server',
        response: { 200: z.object({ langs: z.array(langInfoSchema) }) },
      },
    },
    async () => ({ langs: await langs.list() }),
  )
}
