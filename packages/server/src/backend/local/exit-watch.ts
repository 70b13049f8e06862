import { every } from '../../observe/every.ts'
import type { Logger } from '../../observe/logger.ts'
import { type Identity, isAlive } from './processes.ts'

const EVERY_MS = 500

/** Learns of the end of processes that are no children of this one. */
export interface ExitWatch {
  /** Resolves once the process is gone, a moment later. */
  watch(process: Identity): Promise<void>
  close(): void
}

/** One timer for all; none while there is nothing to watch. */
export function createExitWatch(log: Logger): ExitWatch {
  const watched = new Map<Identity, () => void>()
  let timer: ReturnType<typeof every> | undefined
  const close = (): void => {
    timer?.close()
    timer = undefined
  }
  const look = (): void => {
    for (const [process, resolve] of watched) {
      if (isAlive(process)) continue
      watched.delete(process)
      resolve()
    }
    if (watched.size === 0) close()
  }
  return {
    watch(process) {
      timer ??= every({ ms: EVERY_MS, what: 'Looking for processes that have ended', logger: log }, look)
      return new Promise((resolve) => watched.set({ ...process }, resolve))
    },
    close,
  }
}
