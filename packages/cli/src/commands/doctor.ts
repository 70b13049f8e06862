import { type Check, examine, loadConfig } from '@cob/server'
import type { AddCommand } from '../command.ts'
import { printJson } from '../print.ts'

export const addDoctor: AddCommand = (program, done) => {
  program
    .command('doctor')
    .description('Tell what this machine enforces, by trying it from inside a real sandbox.')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nEnds with status 1 when something is not held, and tells how to mend it. Disturbs no running server.\n\nExample:\n  cob doctor',
    )
    .action(async ({ json }: { json?: boolean }) => {
      const checks: Check[] = []
      const isWell = await examine(loadConfig(), (check) => {
        checks.push(check)
        if (!json) process.stdout.write(toLine(check))
      })
      if (json) printJson({ ok: isWell, checks })
      else
        process.stdout.write(
          isWell
            ? '\nAll of it holds. SECURITY.md tells what that is worth.\n'
            : '\nSomething is not held; what is marked with -> tells what to do.\n',
        )
      done(isWell ? 0 : 1)
    })
}

function toLine({ name, ok, detail, fix }: Check): string {
  const line = `${ok ? 'ok  ' : 'HOLE'}  ${name.padEnd(25)}  ${detail}\n`
  return fix === undefined ? line : `${line}      -> ${fix}\n`
}
