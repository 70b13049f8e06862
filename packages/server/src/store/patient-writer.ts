import type { Logger } from '../observe/logger.ts'

/** Records that could not be written yet; beyond, the oldest are lost. */
const MAX_UNWRITTEN = 10_000

/** Writes records nobody waits for; what cannot be written, for a full disk for instance, when it can. */
export interface PatientWriter<R> {
  write(record: R): void
  /** Tries again what could not be written, oldest first, until one cannot. */
  sweep(): void
  /** Tries once more; what cannot be written is in the log. */
  close(): void
}

/** `what` the records are, for the log. */
export function createPatientWriter<R>(
  write: (record: R) => void,
  { logger, what }: { readonly logger: Logger; readonly what: string },
): PatientWriter<R> {
  const unwritten: R[] = []
  const tryNext = (record: R): boolean => {
    try {
      write(record)
      return true
    } catch (err) {
      logger.error({ err, waiting: unwritten.length + 1 }, `${what} could not be written; it is tried again.`)
      return false
    }
  }
  const lose = (record: R | undefined): void =>
    logger.error({ record }, `${what} was lost: it could not be written.`)
  const sweep = (): void => {
    for (let next = unwritten.shift(); next !== undefined; next = unwritten.shift()) {
      if (tryNext(next)) continue
      unwritten.unshift(next)
      return
    }
  }
  return {
    write(record) {
      // Behind others it waits: each try may take as long as a lock is waited for.
      if (unwritten.length === 0 && tryNext(record)) return
      unwritten.push(record)
      if (unwritten.length > MAX_UNWRITTEN) lose(unwritten.shift())
    },
    sweep,
    close() {
      sweep()
      for (const record of unwritten.splice(0)) lose(record)
    },
  }
}
