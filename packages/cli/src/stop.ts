import { constants } from 'node:os'
import { CliError } from './cli-error.ts'
import { onStopSignal } from './stop-signal.ts'

/** What ends a command early: SIGINT, SIGTERM, SIGHUP, or nobody reading its output any more. */
export interface Stop {
  /** As `work`, unless the command is stopped first: then it rejects with a `CliError`, and `work` is left alone. */
  unless<T>(work: Promise<T>): Promise<T>
  /** From now on the first SIGINT calls `act`, and stops only if there was nothing to interrupt: if that is false, or fails. */
  interruptFirst(act: () => Promise<boolean>): void
  /** Gives the signals their usual effect again. Idempotent. */
  close(): void
}

/** As a shell reports a process that a signal ended. */
export const toExitCode = (signal: NodeJS.Signals): number => 128 + constants.signals[signal]

/** Watches from now on, so that what a command made can be removed first. */
export function createStop(): Stop {
  const stopped = Promise.withResolvers<never>()
  // Whoever waits next hears of it.
  stopped.promise.catch(() => {})
  let interrupt: (() => Promise<boolean>) | undefined
  const stop = (signal: NodeJS.Signals): void => stopped.reject(new CliError('stopped.', toExitCode(signal)))
  const close = onStopSignal(stop, (signal) => {
    if (signal !== 'SIGINT' || !interrupt) return false
    interrupt().then(
      (hasInterrupted) => hasInterrupted || stop(signal),
      () => stop(signal),
    )
    return true
  })
  // A reader such as head(1) went away. Later errors of the same kind would end the process: this stays.
  process.stdout.on('error', () => {
    stopped.reject(new CliError('standard output is closed; stopped.', toExitCode('SIGPIPE')))
  })
  return {
    unless: (work) => Promise.race([work, stopped.promise]),
    interruptFirst(act) {
      interrupt = act
    },
    close,
  }
}
