import { createSqliteStore } from '../../packages/server/src/store/sqlite-store.ts'
import type { Store } from '../../packages/server/src/store/store.ts'

/** The embedded store, in memory. */
export function createMemoryStore(): Store {
  return createSqliteStore(':memory:', () => ({ bytes: Buffer.alloc(32, 7), source: 'a test' }))
}
