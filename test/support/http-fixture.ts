import type { AddressInfo, Server } from 'node:net'
import { pino } from 'pino'
import { createKeys } from '../../packages/server/src/access/keys.ts'
import { createQuotas } from '../../packages/server/src/access/quotas.ts'
import { ERRORS } from '../../packages/server/src/errors.ts'
import { createHttpServer, type HttpServerOptions } from '../../packages/server/src/http/server.ts'
import { createMetrics } from '../../packages/server/src/observe/metrics.ts'
import { createObserver } from '../../packages/server/src/observe/observer.ts'
import { createKey } from '../../packages/server/src/store/key.ts'
import type { Key, Store } from '../../packages/server/src/store/store.ts'
import { createFakeBackend, type FakeBackend } from './fake-backend.ts'
import { createFakeLangs, createFakeSessions } from './fake-sessions.ts'
import { createTemporaryStore } from './temporary-store.ts'

export const KEY = { accessKey: 'AKIAEXAMPLE', secretKey: 'a-secret-of-the-tests' }
export const BEARER = `Bearer ${KEY.accessKey}:${KEY.secretKey}`

export const ADMIN = 'Bearer AKIAADMIN:a-secret-of-the-tests'

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

/** The real HTTP front, the real sessions and store, on sandboxes in memory; kernel type `fake`. Other keys are `AKIAOTHER` and `AKIAADMIN`, an admin. */
export async function startHttp(overrides: Partial<HttpServerOptions> = {}): Promise<HttpFixture> {
  const { logger = pino({ level: 'silent' }) } = overrides
  const backend = createFakeBackend()
  const store = createTemporaryStore()
  const addKey = (accessKey: string, more: Partial<Key> = {}): void =>
    store.addKey({ ...createKey(), ...KEY, createdAt: 0, accessKey, ...more })
  addKey(KEY.accessKey)
  addKey('AKIAOTHER')
  addKey('AKIADISABLED', { disabledAt: 1 })
  addKey('AKIAADMIN', { role: 'admin' })
  const metrics = createMetrics(Object.keys(ERRORS))
  const sessions = createFakeSessions(backend, {
    observer: createObserver(metrics.observer, ...(overrides.tracing ? [overrides.tracing.observer] : [])),
    logger,
    ledger: store,
    quotaOf: createQuotas(store, {
      maxKernelsPerKey: 10,
      maxMemoryKbPerKey: 0,
      maxCpuMsPerDay: 0,
      network: 'none',
    }),
  })
  const http = createHttpServer({
    sessions,
    langs: createFakeLangs(),
    store,
    metrics,
    metricsAccess: 'loopback',
    corsOrigins: [],
    keys: createKeys({ store, now: overrides.now ?? Date.now }),
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
