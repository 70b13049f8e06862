import { writeSync } from 'node:fs'
import { type Logger, pino } from 'pino'

export type { Logger }

const STDERR = 2
/** For whoever reads the log slowly through a pipe that does not wait; everybody waits with them. */
const WAIT_MS = 5
const MAX_WAITS = 20

/** Structured log lines as JSON on standard error, so that standard output stays the program's own. What cannot be written is lost. */
export function createLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, { write: createWrite() })
}

/** Not pino's own destination: at the end of the process that waits until there is room on a full disk. */
function createWrite(): (line: string) => void {
  const clock = new Int32Array(new SharedArrayBuffer(4))
  /** Nobody reads any more: what comes is not waited for again. */
  let isStuck = false
  /** The last line came to an end in its middle. */
  let isTorn = false
  return (line) => {
    let rest = Buffer.from(isTorn ? `\n${line}` : line)
    const { length } = rest
    for (let waits = 0; rest.length > 0; waits++) {
      try {
        rest = rest.subarray(writeSync(STDERR, rest))
        isStuck = false
        continue
      } catch (error) {
        isStuck ||=
          !(error instanceof Error && 'code' in error && error.code === 'EAGAIN') || waits >= MAX_WAITS
      }
      if (isStuck) break
      Atomics.wait(clock, 0, 0, WAIT_MS)
    }
    if (rest.length < length) isTorn = rest.length > 0
  }
}
