import { writeSync } from 'node:fs'
import { type Logger, pino } from 'pino'

export type { Logger }

const STDERR = 2
/** For whoever reads the log slowly through a pipe that does not wait. */
const WAIT_MS = 5
const MAX_WAITS = 20

/** Structured log lines as JSON on standard error, so that standard output stays the program's own. What cannot be written is lost. */
export function createLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, { write })
}

/** Not pino's own destination: at the end of the process that waits until there is room on a full disk. */
function write(line: string): void {
  let rest = Buffer.from(line)
  for (let waits = 0; rest.length > 0 && waits < MAX_WAITS; ) {
    try {
      rest = rest.subarray(writeSync(STDERR, rest))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return
      waits++
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS)
    }
  }
}
