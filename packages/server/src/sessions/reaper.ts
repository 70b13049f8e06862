import { every } from '../observe/every.ts'
import type { Logger } from '../observe/logger.ts'
import type { Observer } from '../observe/observer.ts'
import type { Session } from './session.ts'

const TICK_MS = 200
const TICKS_A_SECOND = 1000 / TICK_MS
/** Figures of a session in which nothing ran are read every so many seconds: of a thousand, most. */
const IDLE_SAMPLE_S = 5

export interface ReaperOptions {
  readonly sessions: () => readonly Session[]
  /** Called about once a second. */
  readonly sweep: () => void
  readonly observer: Observer
  readonly logger: Logger
}

/**
 * One timer for all sessions: ends the idle ones, reads what each uses, ends those whose CPU credit is gone. Figures of those in which
 * code ran are read once a second, those with a CPU credit at every tick; each tick has its share of them.
 */
export function createReaper({ sessions, sweep, observer, logger }: ReaperOptions): { close(): void } {
  let ticks = 0
  let lastAt = performance.now()
  const isDue = (session: Session, index: number): boolean => {
    if (session.limits.maxCpuCreditMs > 0) return true
    const everyTicks = (session.isActive ? 1 : IDLE_SAMPLE_S) * TICKS_A_SECOND
    return (ticks + index) % everyTicks === 0
  }
  const tick = (): void => {
    ticks++
    const now = performance.now()
    observer.ticked(Math.max(0, now - lastAt - TICK_MS))
    lastAt = now
    sessions().forEach((session, index) => {
      session.checkIdle()
      if (!isDue(session, index)) return
      session.sample().catch((err) => logger.warn({ err, kernelId: session.id }, 'Usage could not be read.'))
    })
    if (ticks % TICKS_A_SECOND === 0) sweep()
  }
  return every({ ms: TICK_MS, what: 'Looking at sessions', logger }, tick)
}
