import type { Logger } from '../observe/logger.ts'
import type { Accounting } from './accounting.ts'
import type { Owner } from './owner.ts'
import { checkCpu, hasCpuLeft, type Quota } from './quota.ts'
import type { Session } from './session.ts'

/** CPU time a session may use when its owner's of the day is used up: enough to be listed, read and destroyed. */
const GRACE_CPU_MS = 200

/**
 * The CPU time of an owner's day. When it is used up no code starts any more, and sessions in which code goes on end; those that rest keep
 * what they hold, until their idle timeout.
 */
export interface CpuQuota {
  /** Throws `quota-exceeded` when it is used up. */
  check(owner: Owner): void
  /** Ends those that go on; call about once a second, when their usage has been charged. */
  enforce(live: Iterable<{ readonly owner: Owner; readonly session: Session }>): void
}

export interface CpuQuotaOptions {
  readonly quotaOf: (owner: Owner) => Quota
  readonly accounting: Accounting
  readonly logger: Logger
  /** ms since the epoch */
  readonly now: () => number
}

export function createCpuQuota({ quotaOf, accounting, logger, now }: CpuQuotaOptions): CpuQuota {
  /** What each had used when its owner's time was found to be used up. */
  const usedBefore = new WeakMap<Session, number>()
  return {
    check: (owner) => checkCpu(quotaOf(owner), accounting.cpuMsToday(owner), now()),
    enforce(live) {
      const isOver = new Map<Owner, boolean>()
      for (const { owner, session } of live) {
        const over = isOver.get(owner) ?? !hasCpuLeft(quotaOf(owner), accounting.cpuMsToday(owner))
        isOver.set(owner, over)
        if (!over) {
          usedBefore.delete(session)
          continue
        }
        const before = usedBefore.get(session) ?? session.cpuMs
        usedBefore.set(session, before)
        if (session.cpuMs - before < GRACE_CPU_MS) continue
        session
          .end('cpu-credit-exhausted')
          .catch((err) => logger.error({ err, kernelId: session.id }, 'The sandbox could not be removed.'))
      }
    },
  }
}
