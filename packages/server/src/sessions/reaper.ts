import type { Logger } from '../observe/logger.ts'
import type { Session } from './session.ts'

const TICK_MS = 200
/** Figures are read this often: every session once a second, those with a CPU credit at every tick. */
const SAMPLE_EVERY_TICKS = 5

export interface ReaperOptions {
  readonly sessions: () => readonly Session[]
  /** Called about once a second. */
  readonly sweep: () => void
  readonly logger: Logger
}

/** One timer for all sessions: ends the idle ones, reads what each uses, ends those whose CPU credit is gone. */
export function createReaper({ sessions, sweep, logger }: ReaperOptions): { close(): void } {
  let ticks = 0
  const tick = (): void => {
    ticks++
    const samplesAll = ticks % SAMPLE_EVERY_TICKS === 0
    if (samplesAll) sweep()
    for (const session of sessions()) {
      session.checkIdle()
      if (samplesAll || session.limits.maxCpuCreditMs > 0) {
        session
          .sample()
          .catch((err) => logger.warn({ err, kernelId: session.id }, 'Usage could not be read.'))
      }
    }
  }
  const timer = setInterval(tick, TICK_MS)
  timer.unref()
  return { close: () => clearInterval(timer) }
}
