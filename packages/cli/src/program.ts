import { Command } from 'commander'
import type { AddCommand } from './command.ts'
import { addAudit } from './commands/audit.ts'
import { addCp } from './commands/cp.ts'
import { addDoctor } from './commands/doctor.ts'
import { addDrain } from './commands/drain.ts'
import { addKernels } from './commands/kernels.ts'
import { addKeys } from './commands/keys.ts'
import { addRun } from './commands/run.ts'
import { addServe } from './commands/serve.ts'
import { addSessions } from './commands/sessions.ts'
import { addShell } from './commands/shell.ts'
import { addTerm } from './commands/term.ts'
import { addUsage } from './commands/usage.ts'

export function createProgram(): { run(args: readonly string[]): Promise<number> } {
  let exitCode = 0
  const program = new Command('cob')
    .description('Kernel sessions: isolated, stateful interpreters behind an HTTP API.')
    .exitOverride()
    .showHelpAfterError('(--help tells what there is)')
    .addHelpText(
      'after',
      '\nSettings are environment variables COB_*; docs/reference/configuration.md lists them.',
    )
  const add: readonly AddCommand[] = [
    addServe,
    addRun,
    addShell,
    addTerm,
    addCp,
    addKeys,
    addUsage,
    addAudit,
    addKernels,
    addSessions,
    addDrain,
    addDoctor,
  ]
  for (const one of add) {
    one(program, (code) => {
      exitCode = code
    })
  }
  return {
    async run(args) {
      await program.parseAsync(args, { from: 'user' })
      return exitCode
    },
  }
}
