import type { Logger } from '../observe/logger.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { Session } from './session.ts'
import { KEEP_MS } from './tombstones.ts'

const DROP_TOMBSTONES_EVERY_MS = 60_000

export interface UseRecorderOptions {
  /** Undefined where nothing can be kept. */
  readonly store?: SessionStore
  readonly logger: Logger
}

/** Writes down when each of these sessions was last used, where that has changed, and forgets ends of long ago; to be called about once a second. Never throws. */
export function createUseRecorder({
  store,
  logger,
}: UseRecorderOptions): (sessions: readonly Session[]) => void {
  let droppedAt = 0
  return (sessions) => {
    const used = sessions.map((session) => session.dueUse()).filter((use) => use !== undefined)
    try {
      if (used.length > 0) store?.useSessions(used)
      for (const use of used) use.written()
      if (performance.now() - droppedAt < DROP_TOMBSTONES_EVERY_MS) return
      droppedAt = performance.now()
      store?.dropTombstones(Date.now() - KEEP_MS)
    } catch (err) {
      logger.error({ err }, 'The use of sessions could not be recorded.')
    }
  }
}
