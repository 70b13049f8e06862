import type { AuditEntry, KeyUsage, SessionUsage } from '@cob/protocol'
import type { Store } from '../store/store.ts'
import type { Page, Period } from '../store/usage.ts'

/** What is asked for, as it came over the wire. */
interface RecordsQuery {
  readonly key?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
}
type PagedQuery = RecordsQuery & Page

/** What was used, and what was done. */
export interface Records {
  usageOfKeys(query: RecordsQuery): KeyUsage[]
  usageOfSessions(query: PagedQuery): { sessions: SessionUsage[]; next: number | null }
  audit(query: PagedQuery): { entries: AuditEntry[]; next: number | null }
}

const toPeriod = ({ key, from, to }: RecordsQuery): Period => ({
  accessKey: key,
  from: from === undefined ? undefined : Date.parse(from),
  to: to === undefined ? undefined : Date.parse(to),
})
const toIso = (at: number): string => new Date(at).toISOString()
/** A page that is full may have another behind it. */
const nextOf = (rows: readonly { readonly id: number }[], limit: number): number | null =>
  rows.length < limit ? null : (rows.at(-1)?.id ?? null)

export function createRecords(store: Pick<Store, 'sumUsage' | 'listUsage' | 'listAudit'>): Records {
  return {
    usageOfKeys: (query) => store.sumUsage(toPeriod(query)),
    usageOfSessions(query) {
      const rows = store.listUsage({ ...toPeriod(query), limit: query.limit, after: query.after })
      const sessions = rows.map(({ id, cpuMsLastDay, createdAt, endedAt, ...rest }) => ({
        ...rest,
        createdAt: toIso(createdAt),
        endedAt: toIso(endedAt),
      }))
      return { sessions, next: nextOf(rows, query.limit) }
    },
    audit(query) {
      const rows = store.listAudit({ ...toPeriod(query), limit: query.limit, after: query.after })
      return {
        entries: rows.map(({ at, ...rest }) => ({ ...rest, at: toIso(at) })),
        next: nextOf(rows, query.limit),
      }
    },
  }
}
