import { CobError } from '../errors.ts'

/** Why and how no new sessions are made. `since` in ms since the epoch. */
interface DrainState {
  readonly since: number
  /** The server ends when no session is left. */
  readonly stop: boolean
}

/** No new sessions, until undone. */
export interface Drain {
  readonly state: DrainState | undefined
  /** Begins, or changes `stop`. */
  begin(stop: boolean): void
  undo(): void
  /** Throws `draining`. */
  throwIfDraining(): void
  /** Looks whether it is done; call when a session is gone. */
  check(): void
}

const RETRY_S = 60

export interface DrainOptions {
  /** Sessions that are left. */
  readonly count: () => number
  /** Called, at most once, when a drain that is to stop the server is done. */
  readonly onDone: () => void
}

export function createDrain({ count, onDone }: DrainOptions): Drain {
  let state: DrainState | undefined
  let isDone = false
  const check = (): void => {
    if (isDone || !state?.stop || count() > 0) return
    isDone = true
    onDone()
  }
  return {
    get state() {
      return state
    },
    begin(stop) {
      state = { since: state?.since ?? Date.now(), stop }
      check()
    },
    undo() {
      state = undefined
    },
    throwIfDraining() {
      if (state) throw CobError.of('draining', {}, { retryAfterS: RETRY_S })
    },
    check,
  }
}
