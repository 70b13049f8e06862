import type { SessionEvent } from '@cob/protocol'
import { CobError } from '../errors.ts'

/** Of one session at once. */
const MAX_WATCHERS = 64
/** Share of a limit from which on a session is warned, and below which it may be warned again. */
const WARN_AT = 0.9
const WARN_AGAIN_BELOW = 0.8

/** Those who are told what becomes of one session. */
export interface Watchers {
  /** Returns how to stop it; idempotent. Throws `too-many-watchers`. */
  add(watcher: (event: SessionEvent) => void): () => void
  tell(event: SessionEvent): void
  /** Tells when what is used comes near its limit, once. */
  warn(reason: 'memory' | 'cpu-credit', used: number, limit: number): void
}

export function createWatchers(kernelId: string): Watchers {
  const watchers = new Set<(event: SessionEvent) => void>()
  const warned = new Set<string>()
  const tell = (event: SessionEvent): void => {
    for (const watcher of watchers) watcher(event)
  }
  return {
    add(watcher) {
      if (watchers.size >= MAX_WATCHERS)
        throw CobError.of('too-many-watchers', { id: kernelId, count: watchers.size })
      const own = (event: SessionEvent): void => watcher(event)
      watchers.add(own)
      return () => watchers.delete(own)
    },
    tell,
    warn(reason, used, limit) {
      if (used < limit * WARN_AGAIN_BELOW) warned.delete(reason)
      if (used < limit * WARN_AT || warned.has(reason)) return
      warned.add(reason)
      tell({ name: 'resource-warning', reason })
    },
  }
}
