import type { Logger } from '../observe/logger.ts'
import type { SessionRecord, SessionStore } from '../store/session-store.ts'
import type { Execution } from './execution.ts'
import { toMachineTime } from './machine-clock.ts'

/** Records of executions that are not kept any more are dropped so many at once. */
const DROP_EVERY = 16
/** Of the time of its last use. */
const USE_PRECISION_MS = 5000

/** What is written down of one session, so that another server can go on with it. Times are monotonic ms. */
export interface SessionRecords {
  /** There is a record of the session. */
  readonly hasBegun: boolean
  /** There is a record from an earlier server, with this time of the last use. */
  resume(usedAt: number): void
  /** Throws `not-recorded`. */
  begin(session: Omit<SessionRecord, 'kernelId' | 'usedAt'>): void
  /** Adds the execution's record, or replaces it. Throws `not-recorded`. */
  put(execution: Execution): void
  /** The same where nobody can be refused any more; `sweep` tries again what could not be written. */
  putLater(execution: Execution): void
  /** Forgets executions before number `firstKept`, now and then. `count` is the latest one's. */
  dropOld(count: number, firstKept: () => number): void
  sweep(): void
  /** What is to be recorded of its last use, at `usedAt`, if that is another time than was. */
  dueUse(usedAt: number): DueUse | undefined
}

/** `written` is to be called when it was. */
export interface DueUse extends Pick<SessionRecord, 'kernelId' | 'usedAt'> {
  written(): void
}

export interface SessionRecordsOptions {
  readonly kernelId: string
  /** Undefined where nothing can be kept. */
  readonly store: SessionStore | undefined
  readonly logger: Logger
}

export function createSessionRecords({ kernelId, store, logger }: SessionRecordsOptions): SessionRecords {
  let recordedUseAt = performance.now()
  let hasBegun = false
  const unwritten = new Set<Execution>()
  const put = (execution: Execution): void => {
    store?.putExecution(execution.toRecord(kernelId))
    execution.isRecorded = true
    unwritten.delete(execution)
  }
  const putLater = (execution: Execution): boolean => {
    try {
      put(execution)
      return true
    } catch (err) {
      unwritten.add(execution)
      logger.error({ err }, 'An execution could not be recorded; it is tried again.')
      return false
    }
  }
  return {
    get hasBegun() {
      return hasBegun
    },
    resume(usedAt) {
      hasBegun = true
      recordedUseAt = usedAt
    },
    begin(session) {
      store?.addSession({ kernelId, usedAt: session.bornAt, ...session })
      hasBegun = store !== undefined
    },
    put,
    putLater,
    sweep() {
      for (const execution of unwritten) if (!putLater(execution)) return
    },
    dropOld(count, firstKept) {
      if (count % DROP_EVERY !== 0) return
      const first = firstKept()
      for (const execution of unwritten) if (execution.count < first) unwritten.delete(execution)
      try {
        store?.dropExecutions(kernelId, first)
      } catch (err) {
        logger.error({ err }, 'Records of executions could not be dropped.')
      }
    },
    dueUse(usedAt) {
      if (usedAt - recordedUseAt < USE_PRECISION_MS) return undefined
      return {
        kernelId,
        usedAt: toMachineTime(usedAt),
        written() {
          recordedUseAt = usedAt
        },
      }
    },
  }
}
