import type { AuditAction } from '@cob/protocol'
import type { Page, Period } from './usage.ts'

/** Who did what to which key or session. `at` in ms since the epoch. */
export interface AuditRecord {
  readonly at: number
  readonly who: string
  readonly action: AuditAction
  readonly target: string | null
  readonly requestId: string | null
  /** `ok`, or the code of the error. */
  readonly outcome: string
}

export interface AuditStore {
  addAudit(record: AuditRecord): void
  /** Newest first; of `accessKey`, what it did and what was done to it. `id` falls. */
  listAudit(query: Period & Page): (AuditRecord & { readonly id: number })[]
  /** Forgets what happened before `before`, and of the rest what is more than `maxEntries`. */
  pruneAudit(before: number, maxEntries: number): void
}
