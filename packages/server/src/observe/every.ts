import type { Logger } from './logger.ts'

interface Interval {
  readonly ms: number
  /** What is done, for the log. */
  readonly what: string
  readonly logger: Logger
}

/** Calls `act` at an interval until it is closed, and keeps no process alive. What it throws is logged: what fails now may work the next time. */
export function every({ ms, what, logger }: Interval, act: () => void): { close(): void } {
  const timer = setInterval(() => {
    try {
      act()
    } catch (err) {
      logger.error({ err }, `${what} failed this time.`)
    }
  }, ms)
  timer.unref()
  return { close: () => clearInterval(timer) }
}
