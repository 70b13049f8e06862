import {
  auditQuerySchema,
  auditSchema,
  keyUsageSchema,
  sessionUsageSchema,
  usageQuerySchema,
  usageSchema,
} from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { createRecords } from '../../access/records.ts'
import type { Store } from '../../store/store.ts'
import { toCsv } from '../csv.ts'
import { negotiate } from '../negotiation.ts'
import { adminOnly } from '../openapi.ts'

const CSV = 'text/csv'
const JSON_TYPE = 'application/json'
const KEY_FIELDS = keyUsageSchema.keyof().options
const SESSION_FIELDS = sessionUsageSchema.keyof().options

/** What was used, and what was done. */
export async function adminRecordRoutes(
  app: FastifyInstance,
  { store }: { store: Pick<Store, 'sumUsage' | 'listUsage' | 'listAudit'> },
): Promise<void> {
  const records = createRecords(store)
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.get(
    '/v1/admin/usage',
    {
      schema: {
        summary: 'What sessions that ended in a period used, by key or one by one',
        description: 'CSV with `format=csv` or `Accept: text/csv`; a next page is then told in `Link`.',
        querystring: usageQuerySchema,
        response: {
          200: {
            description: 'Sums by key, or a page of sessions in the order of their ends',
            content: { [JSON_TYPE]: { schema: usageSchema }, [CSV]: { schema: z.string() } },
          },
          ...adminOnly,
        },
      },
    },
    async ({ query, headers, url }, reply) => {
      const type =
        query.format === undefined
          ? negotiate(headers.accept, [JSON_TYPE, CSV])
          : { json: JSON_TYPE, csv: CSV }[query.format]
      const isCsv = type === CSV
      if (isCsv) reply.type(`${CSV}; charset=utf-8; header=present`).serializer(String)
      if (query.by === 'key') {
        const keys = records.usageOfKeys(query)
        return reply.send(isCsv ? toCsv(KEY_FIELDS, keys) : { keys })
      }
      const page = records.usageOfSessions(query)
      if (isCsv && page.next !== null) reply.header('link', `<${nextUrl(url, page.next)}>; rel="next"`)
      return reply.send(isCsv ? toCsv(SESSION_FIELDS, page.sessions) : page)
    },
  )
  routes.get(
    '/v1/admin/audit',
    {
      schema: {
        summary: 'Who did what to keys and sessions, newest first',
        querystring: auditQuerySchema,
        response: { 200: auditSchema, ...adminOnly },
      },
    },
    async ({ query }) => records.audit(query),
  )
}

/** RFC 8288: relative to what was asked for. */
function nextUrl(url: string, after: number): string {
  const { searchParams } = new URL(url, 'http://server')
  searchParams.set('after', String(after))
  return `?${searchParams}`
}
