import type { AddressInfo, Server } from 'node:net'
import { pino } from 'pino'
import { ERRORS } from '../../packages/server/src/errors.ts'
import { createHttpServer, type HttpServerOptions } from '../../packages/server/src/http/server.ts'
import { createMetrics } from '../../packages/server/src/observe/metrics.ts'
import { createObserver } from '../../packages/server/src/observe/observer.ts'
import { createSqliteStore } from '../../packages/server/src/store/sqlite-store.ts'
import type { Store } from '../../packages/server/src/store/store.ts'
import { createFakeBackend, type FakeBackend } from './fake-backend.ts'
import { createFakeLangs, createFakeSessions } from './fake-sessions.ts'

export const KEY = { accessKey: 'AKIAEXAMPLE', secretKey: 'a-secret-of-the-tests' }
export const BEARER = `Bearer ${KEY.accessKey}:${KEY.secretKey}`

export interface HttpFixture {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly server: Server
  /** Of the sessions that are behind it unless others were given. */
  readonly backend: FakeBackend
  readonly store: Store
  close(): Promise<void>
}

/** The real HTTP front, the real sessions and store, on sandboxes in memory; kernel type `fake`. A second key is `AKIAOTHER`. */
export async function startHttp(overrides: Partial<HttpServerOptions> = {}): Promise<HttpFixture> {
  const { logger = pino({ level: 'silent' }) } = overrides
  const backend = createFakeBackend()
  const metrics = createMetrics(Object.keys(ERRORS))
  const sessions = createFakeSessions(backend, {
    observer: createObserver(metrics.observer, ...(overrides.tracing ? [overrides.tracing.observer] : [])),
    logger,
  })
  const store = createSqliteStore(':memory:')
  const common = { name: '', createdAt: 0, disabledAt: null, network: null }
  store.addKey({ ...KEY, ...common })
  store.addKey({ ...common, accessKey: 'AKIAOTHER', secretKey: KEY.secretKey })
  store.addKey({ ...common, accessKey: 'AKIADISABLED', secretKey: KEY.secretKey, disabledAt: 1 })
  const http = createHttpServer({
    sessions,
    langs: createFakeLangs(),
    store,
    metrics,
    metricsAccess: 'loopback',
    corsOrigins: [],
    logger,
    version: '0.0.0-test',
    maxBodyBytes: 1_048_576,
    rateLimit: { perKey: 1_000_000, perAddress: 1_000_000 },
    ready: () => true,
    ...overrides,
  })
  await http.listen({ host: '127.0.0.1', port: 0 })
  // It listens on TCP.
  const { port } = http.server.address() as AddressInfo
  return {
    url: `${overrides.certificate ? 'https' : 'http'}://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    port,
    server: http.server,
    backend,
    store,
    async close() {
      await sessions.close()
      await http.close()
      store.close()
    },
  }
}
