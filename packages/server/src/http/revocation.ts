import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { every } from '../observe/every.ts'
import type { Logger } from '../observe/logger.ts'

export interface RevocationOptions {
  /** Whether the key with this access key is still good. */
  readonly isWelcome: (owner: string) => boolean
  /** ms between two looks */
  readonly everyMs: number
  readonly logger: Logger
}

/**
 * Breaks off the answers to keys that are no longer good: streams and transfers last as long as their clients like. Whoever comes back is told
 * why. WebSockets are watched where they are served, as they can be told before.
 */
export function endRevoked(app: FastifyInstance, { isWelcome, everyMs, logger }: RevocationOptions): void {
  const open = new Map<ServerResponse, string>()
  app.addHook('preHandler', async ({ owner, ws }, { raw }) => {
    if (owner === '' || ws || raw.closed) return
    open.set(raw, owner)
    raw.once('close', () => open.delete(raw))
  })
  const timer = every({ ms: everyMs, what: 'Looking whether keys are good', logger }, () => {
    const revoked = new Set([...new Set(open.values())].filter((owner) => !isWelcome(owner)))
    for (const [raw, owner] of open) if (revoked.has(owner)) raw.destroy()
  })
  app.addHook('onClose', async () => timer.close())
}
