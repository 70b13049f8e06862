import type { Execution } from './execution.ts'

/** When code that goes on after an interrupt is interrupted once more, and when its interpreter is restarted. */
const AGAIN_MS = 1000
const GRACE_MS = 5000

export interface EscalationOptions {
  /** The session is. */
  readonly isOver: () => boolean
  readonly interrupt: () => unknown
  readonly restart: () => void
}

/** What follows the interrupt of an execution that goes on all the same. */
export function escalate(execution: Execution, { isOver, interrupt, restart }: EscalationOptions): void {
  const later = (ms: number, act: () => unknown): void => {
    const check = (): void => {
      if (execution.ended || isOver()) return
      // It may have ended long ago, behind output that its reader has not taken.
      if (execution.isHeldBack) later(ms, act)
      else act()
    }
    setTimeout(check, ms).unref()
  }
  later(AGAIN_MS, interrupt)
  later(GRACE_MS, restart)
}
