import type { FastifyInstance } from 'fastify'
import type { Keys } from '../../access/keys.ts'
import { CobError } from '../../errors.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import type { Store } from '../../store/store.ts'
import { adminKeyRoutes } from './admin-keys.ts'
import { adminRecordRoutes } from './admin-records.ts'
import { adminSessionRoutes } from './admin-sessions.ts'

export interface AdminOptions {
  readonly sessions: Sessions
  readonly store: Store
  readonly keys: Keys
}

/** `/v1/admin`: for keys with the role admin. */
export async function adminRoutes(app: FastifyInstance, options: AdminOptions): Promise<void> {
  app.addHook('preValidation', async ({ role }) => {
    if (role !== 'admin') throw CobError.of('forbidden', { role })
  })
  app.register(adminKeyRoutes, options)
  app.register(adminRecordRoutes, options)
  app.register(adminSessionRoutes, options)
}
