import type { EndReason } from '@cob/protocol'

/**
 * A live session, with all that a later server needs to have it. `createdAt` is in ms since the epoch; the other times are ms of the
 * machine's monotonic clock, and mean nothing after another boot than `bootId`.
 */
export interface SessionRecord {
  readonly kernelId: string
  readonly owner: string
  readonly token: string
  readonly lang: string
  readonly limits: Readonly<
    Record<'memoryKb' | 'queryTimeoutMs' | 'idleTimeoutMs' | 'maxCpuCreditMs', number>
  >
  readonly createdAt: number
  readonly bootId: string
  readonly bornAt: number
  /** When its idle time began, or a little before. */
  readonly usedAt: number
  /** See `Backend.describe`. */
  readonly sandbox: unknown
}

/** An execution that was accepted; the last ones of a session are kept. */
export interface ExecutionRecord {
  readonly kernelId: string
  /** From 1, in order of acceptance. */
  readonly count: number
  readonly id: string
  readonly codeId: string
  /** Kept until the agent has it. */
  readonly code: string | null
  readonly acceptedAt: number
  readonly startedAt: number | null
  /** How long it has waited for input that came. */
  readonly waitedMs: number
  /** What was printed while nothing ran, and stands in front of its output. */
  readonly unowned: Readonly<Record<'stdout' | 'stderr', string>> | null
  /** Processes of the session that had been killed for their memory when it started. */
  readonly oomKills: number
  /** Number of the last event that an answer contained, and of the last question that a client was told. */
  readonly answered: number
  readonly asked: number
  readonly fetched: boolean
  /** Ended by the server and not by itself, by the event of this number. */
  readonly end: { readonly by: 'interrupt' | 'restart'; readonly event: number } | null
}

/** Of a session that ended; `at` in ms since the epoch. */
export interface TombstoneRecord {
  readonly kernelId: string
  readonly owner: string
  readonly reason: EndReason
  readonly at: number
}

/** One that has not ended, as far as it is recorded. */
export interface LiveSession {
  readonly session: SessionRecord
  readonly executions: readonly ExecutionRecord[]
}

/** What must outlive the server process of sessions. Synchronous; what a method has written is there for a next process, however this one ends. */
export interface SessionStore {
  addSession(session: SessionRecord): void
  /** Moves `usedAt` of sessions. */
  useSessions(used: readonly Pick<SessionRecord, 'kernelId' | 'usedAt'>[]): void
  /** Removes the session, if it is there, with its executions. */
  endSession(tombstone: TombstoneRecord): void
  /** Adds or replaces. Does nothing where the session is not there any more. */
  putExecution(execution: ExecutionRecord): void
  /** Forgets those of a session whose `count` is lower. */
  dropExecutions(kernelId: string, before: number): void
  /** Executions in order of `count`. */
  liveSessions(): LiveSession[]
  /** Oldest first. */
  tombstones(): TombstoneRecord[]
  /** Forgets those that are older than `before`. */
  dropTombstones(before: number): void
}
