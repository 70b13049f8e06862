import type { Logger } from './logger.ts'

/** Calls `act` every so many ms until it is closed, and keeps no process alive. What it throws is logged: one that fails now may work the next time. */
export function every(ms: number, act: () => void, logger: Logger): { close(): void } {
  const timer = setInterval(() => {
    try {
      act()
    } catch (err) {
      logger.error({ err }, 'What is done at intervals failed this time.')
    }
  }, ms)
  timer.unref()
  return { close: () => clearInterval(timer) }
}
