import { type Identity, isAlive } from './processes.ts'

const EVERY_MS = 500

/** Learns of the end of processes that are no children of this one. */
export interface ExitWatch {
  /** Resolves once the process is gone, a moment later. */
  watch(process: Identity): Promise<void>
  close(): void
}

/** One timer for all; none while there is nothing to watch. */
export function createExitWatch(): ExitWatch {
  const watched = new Map<Identity, () => void>()
  let timer: NodeJS.Timeout | undefined
  const close = (): void => {
    clearInterval(timer)
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
      timer ??= setInterval(look, EVERY_MS).unref()
      return new Promise((resolve) => watched.set({ ...process }, resolve))
    },
    close,
  }
}
