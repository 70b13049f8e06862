import type { EndReason, KeyUsage } from '@cob/protocol'

/** What one session used, from its creation to its end. Times are ms since the epoch. */
export interface UsageRecord {
  readonly kernelId: string
  readonly accessKey: string
  readonly lang: string
  readonly createdAt: number
  readonly endedAt: number
  readonly reason: EndReason
  readonly cpuMs: number
  /** The part of `cpuMs` that it used in the day (UTC) it ended in. */
  readonly cpuMsLastDay: number
  readonly peakMemoryKb: number
  readonly executions: number
  readonly outputBytes: number
}

/** Ends from `from` on and before `to`, of one key or of all. */
export interface Period {
  readonly accessKey?: string | undefined
  readonly from?: number | undefined
  readonly to?: number | undefined
}

export interface Page {
  readonly limit: number
  /** `id` of the last one of the page before. */
  readonly after?: number | undefined
}

export interface UsageStore {
  /** Counts once for each kernel: of one that is told again the greater figures count. */
  addUsage(record: UsageRecord): void
  /** In the order of their ends; `id` rises. */
  listUsage(query: Period & Page): (UsageRecord & { readonly id: number })[]
  /** Sums by key, in the order of the access keys. */
  sumUsage(period: Period): KeyUsage[]
  /** Sum of `cpuMsLastDay` of the key's sessions that ended at `since` or later. */
  sumCpuMs(accessKey: string, since: number): number
  /** Forgets those that ended before `before`. */
  pruneUsage(before: number): void
}
