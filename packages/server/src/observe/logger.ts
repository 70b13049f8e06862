import { type Logger, pino } from 'pino'

export type { Logger }

/** Structured log lines as JSON on standard error, so that standard output stays the program's own. */
export function createLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2))
}
