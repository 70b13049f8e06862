import { constants } from 'node:os'
import { CliError } from './cli-error.ts'
import { onStopSignal } from './stop-signal.ts'

/** What ends a command early: SIGINT, SIGTERM, SIGHUP, or nobody reading its output any more. */
export interface Stop {
  /** As `work`, unless the command is stopped first: then it rejects with a `CliError`, and `work` is left alone. */
  unless<T>(work: Promise<T>): Promise<T>
  /** Gives the signals their usual effect again. Idempotent. */
  close(): void
}

/** As a shell reports a process that a signal ended. */
const toExitCode = (signal: NodeJS.Signals): number => 128 + constants.signals[signal]

/** Watches from now on, so that what a command made can be removed first. */
export function createStop(): Stop {
  const stopped = Promise.withResolvers<never>()
  // Whoever waits next hears of it.
  stopped.promise.catch(() => {})
  const close = onStopSignal((signal) => stopped.reject(new CliError('stopped.', toExitCode(signal))))
  // A reader such as head(1) went away. Later errors of the same kind would end the process: this stays.
  process.stdout.on('error', () => {
    stopped.reject(new CliError('standard output is closed; stopped.', toExitCode('SIGPIPE')))
  })
  return { unless: (work) => Promise.race([work, stopped.promise]), close }
}
