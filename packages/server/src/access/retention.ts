import { every } from '../observe/every.ts'
import type { Logger } from '../observe/logger.ts'
import type { Store } from '../store/store.ts'

const EVERY_MS = 3_600_000
const DAY_MS = 86_400_000
/** Of the audit log, about 200 bytes each, so that one key cannot fill the disk; the oldest go first. */
const MAX_AUDIT_ENTRIES = 1_000_000

export interface RetentionOptions {
  readonly store: Pick<Store, 'pruneUsage' | 'pruneAudit'>
  readonly usageDays: number
  readonly auditDays: number
  readonly logger: Logger
}

/** Forgets records that are too old, now and every hour. */
export function startRetention({ store, usageDays, auditDays, logger }: RetentionOptions): { close(): void } {
  const prune = (): void => {
    try {
      store.pruneUsage(Date.now() - usageDays * DAY_MS)
      store.pruneAudit(Date.now() - auditDays * DAY_MS, MAX_AUDIT_ENTRIES)
    } catch (err) {
      // At the start, too, that is no reason not to serve.
      logger.error({ err }, 'Old records could not be removed.')
    }
  }
  prune()
  return every({ ms: EVERY_MS, what: 'Removing old records', logger }, prune)
}
