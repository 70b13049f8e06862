/** A session, as those who watch know it. */
export interface ObservedSession {
  readonly kernelId: string
  readonly lang: string
}

/** An execution, as those who watch know it. */
interface ObservedExecution {
  readonly id: string
  /** Empty once it has ended. */
  readonly code: string
  /** ms since it was started; of one that has ended, until then; 0 if it never was. */
  readonly durationMs: number
  /** Its output as far as that is kept; takes nothing away from anybody, and costs as much as there is. */
  describe(): { readonly stdout: string; readonly stderr: string }
}

/**
 * What went wrong between the server and an agent: it was lost, it refused an execution, its interpreter did not come back from a
 * restart, one that was warm did not answer, or one to be kept warm could not be made.
 */
export type AgentFault = 'lost' | 'refused' | 'restart' | 'warm-start' | 'warm-up'

/** Told of what happens to sessions, as it happens: every method returns at once and never throws. */
export interface Observer {
  creating(session: ObservedSession): void
  created(session: ObservedSession, how: { readonly isWarm: boolean; readonly durationMs: number }): void
  /** Not by a client's doing. `ended` follows, or came before. */
  createFailed(session: ObservedSession): void
  ended(session: ObservedSession, reason: string): void
  submitted(session: ObservedSession, execution: ObservedExecution): void
  /** `outcome`: how it ended, or the reason why it was ended. */
  executed(session: ObservedSession, execution: ObservedExecution, outcome: string): void
  agentFailed(lang: string, fault: AgentFault): void
  /** The timer that ends idle and overdrawn sessions ran, so late. */
  ticked(lateMs: number): void
}

/** Tells all of them, in this order; nobody, if there are none. */
export function createObserver(...observers: readonly Partial<Observer>[]): Observer {
  return {
    creating: (session) => {
      for (const each of observers) each.creating?.(session)
    },
    created: (session, how) => {
      for (const each of observers) each.created?.(session, how)
    },
    createFailed: (session) => {
      for (const each of observers) each.createFailed?.(session)
    },
    ended: (session, reason) => {
      for (const each of observers) each.ended?.(session, reason)
    },
    submitted: (session, execution) => {
      for (const each of observers) each.submitted?.(session, execution)
    },
    executed: (session, execution, outcome) => {
      for (const each of observers) each.executed?.(session, execution, outcome)
    },
    agentFailed: (lang, fault) => {
      for (const each of observers) each.agentFailed?.(lang, fault)
    },
    ticked: (lateMs) => {
      for (const each of observers) each.ticked?.(lateMs)
    },
  }
}
