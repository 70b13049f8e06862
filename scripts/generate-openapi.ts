import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { createKeys } from '../packages/server/src/access/keys.ts'
import { createHttpServer } from '../packages/server/src/http/server.ts'
import { createMetrics } from '../packages/server/src/observe/metrics.ts'
import type { Sessions } from '../packages/server/src/sessions/sessions.ts'
import { createTemporaryStore } from '../test/support/temporary-store.ts'

/** `openapi.json`, from the schemas that check requests. No request is made, so the sessions need not be there. */
export async function openapiDocument(): Promise<string> {
  // npm requires the field.
  const { version } = JSON.parse(
    readFileSync(new URL('../packages/server/package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  const store = createTemporaryStore()
  const app = createHttpServer({
    sessions: {} as Sessions,
    langs: { find: () => undefined, list: async () => [], names: () => [] },
    store,
    metrics: createMetrics([]),
    metricsAccess: 'loopback',
    corsOrigins: [],
    keys: createKeys({ store, now: Date.now }),
    logger: pino({ level: 'silent' }),
    version,
    maxBodyBytes: 1024,
    rateLimit: { perKey: 1, perAddress: 1 },
    ready: () => true,
  })
  try {
    await app.ready()
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
    store.close()
  }
}
