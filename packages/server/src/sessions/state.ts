/**
 * The one table of what a session may become. `terminated` is final; anything may start to terminate.
 */
const TRANSITIONS = {
  starting: ['idle', 'terminating'],
  idle: ['busy', 'restarting', 'terminating'],
  busy: ['idle', 'waiting-input', 'restarting', 'terminating'],
  'waiting-input': ['busy', 'idle', 'restarting', 'terminating'],
  restarting: ['idle', 'terminating'],
  terminating: ['terminated'],
  terminated: [],
} as const satisfies Record<string, readonly string[]>

export type SessionState = keyof typeof TRANSITIONS

export function canBecome(from: SessionState, to: SessionState): boolean {
  const allowed: readonly SessionState[] = TRANSITIONS[from]
  return allowed.includes(to)
}

/** True once a session has begun to end: to a client it no longer exists. */
export function isEnding(state: SessionState): boolean {
  return state === 'terminating' || state === 'terminated'
}
