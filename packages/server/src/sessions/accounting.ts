import type { Logger } from '../observe/logger.ts'
import { createPatientWriter } from '../store/patient-writer.ts'
import type { UsageRecord, UsageStore } from '../store/usage.ts'
import type { Owner } from './owner.ts'
import { startOfDay } from './quota.ts'
import type { Ending } from './tombstones.ts'

/** What one session has used when nothing of it runs any more. */
export interface Figures {
  readonly cpuMs: number
  readonly peakMemoryBytes: number
  readonly executions: number
  readonly outputBytes: number
}

/** One session's. */
export interface Account {
  /** Counts what it has used since the last call towards its owner's day; `cpuMs` is all it has used. */
  charge(cpuMs: number): void
  /** Writes its usage record; again with its last figures when they are known. */
  close(ending: Ending, figures: Figures): void
}

/** Counts CPU time by owner and day (UTC), and writes down what each session used. */
export interface Accounting {
  /**
   * `createdAt` in ms since the epoch. Of one that an earlier server began on another day, what it has used until its first charge does
   * not count for today.
   */
  open(session: Pick<UsageRecord, 'kernelId' | 'lang' | 'createdAt'> & { readonly owner: Owner }): Account
  cpuMsToday(owner: Owner): number
  /** Tries again to write what could not be. */
  sweep(): void
  /** Once more. */
  close(): void
}

export interface AccountingOptions {
  readonly ledger: Pick<UsageStore, 'addUsage' | 'sumCpuMs'>
  readonly logger: Logger
  /** ms since the epoch */
  readonly now: () => number
}

export function createAccounting({ ledger, logger, now }: AccountingOptions): Accounting {
  /** As many as there are keys in use today. */
  const today = new Map<Owner, number>()
  let day = startOfDay(now())

  const cpuMsToday = (owner: Owner): number => {
    const current = startOfDay(now())
    if (current !== day) today.clear()
    day = current
    const known = today.get(owner) ?? ledger.sumCpuMs(owner, day)
    today.set(owner, known)
    return known
  }
  /** Never throws: while the ledger cannot be read, what it would be added to is not known, and this is not counted. */
  const add = (owner: Owner, cpuMs: number): void => {
    try {
      today.set(owner, cpuMsToday(owner) + cpuMs)
    } catch (err) {
      logger.error({ err, owner }, 'CPU time could not be counted towards the day.')
    }
  }
  const records = createPatientWriter<UsageRecord>((record) => ledger.addUsage(record), {
    logger,
    what: 'Usage',
  })

  return {
    open({ kernelId, owner, lang, createdAt }) {
      let counted = createdAt < startOfDay(now()) ? undefined : 0
      let countedOn = day
      let ofThatDay = 0
      const charge = (cpuMs: number): void => {
        const more = counted === undefined ? 0 : Math.max(0, cpuMs - counted)
        add(owner, more)
        if (countedOn !== day) ofThatDay = 0
        countedOn = day
        ofThatDay += more
        counted = Math.max(counted ?? 0, cpuMs)
      }
      return {
        charge,
        close({ reason, at }, { peakMemoryBytes, executions, outputBytes, cpuMs }) {
          charge(cpuMs)
          records.write({
            kernelId,
            accessKey: owner,
            lang,
            createdAt,
            endedAt: at,
            reason,
            cpuMs: counted ?? 0,
            cpuMsLastDay: ofThatDay,
            peakMemoryKb: Math.ceil(peakMemoryBytes / 1024),
            executions,
            outputBytes,
          })
        },
      }
    },
    cpuMsToday,
    sweep: records.sweep,
    close: records.close,
  }
}
