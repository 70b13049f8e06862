import { ConfigError } from '@cob/server'
import { CommanderError } from 'commander'
import { CliError } from './cli-error.ts'
import { createProgram } from './program.ts'

// In place of the arguments, which may hold a key and are shown to everybody on this machine.
process.title = 'cob'

/** The only place that ends the process. */
try {
  const exitCode = await createProgram().run(process.argv.slice(2))
  process.exit(exitCode)
} catch (error) {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
  const isKnown = error instanceof CliError || error instanceof ConfigError
  const text =
    isKnown || !(error instanceof Error)
      ? String(error instanceof Error ? error.message : error)
      : startError(error)
  process.stderr.write(`cob: ${text}\n`)
  process.exit(error instanceof CliError ? error.exitCode : error instanceof ConfigError ? 2 : 1)
}

/** What keeps a server from starting is told in its message; the trace is for those who ask for it. */
function startError(error: Error): string {
  return process.env.DEBUG ? (error.stack ?? error.message) : error.message
}
