import { loadConfig } from '@cob/server'
import { withAdministration } from '../administration.ts'
import type { Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { parseInstant, parseWhole } from '../parse.ts'
import { printJson, printTable } from '../print.ts'
import { addTargetOptions } from '../target-options.ts'

interface Options extends Target {
  readonly of?: string
  readonly from?: string
  readonly to?: string
  readonly limit: number
  readonly after?: number
  readonly json?: boolean
}

/** Of the server there is, or of the data folder. */
export const addAudit: AddCommand = (program) => {
  addTargetOptions(
    program
      .command('audit')
      .description('Tell who did what to keys and sessions, newest first.')
      .option('--of <accessKey>', 'what this key did, and what was done to it')
      .option('--from <time>', 'at this time or later, ISO 8601', parseInstant)
      .option('--to <time>', 'before this time', parseInstant)
      .option('--limit <number>', 'how many at most', parseWhole, 100)
      .option('--after <id>', 'those before this one', parseWhole)
      .addHelpText('after', '\nExample:\n  cob audit --from 2026-01-31 --limit 20'),
  ).action(async (options: Options) => {
    const { of: key, from, to, limit, after } = options
    const query = {
      limit,
      ...(key && { key }),
      ...(from && { from }),
      ...(to && { to }),
      ...(after !== undefined && { after }),
    }
    const page = await withAdministration(options, loadConfig(), (administration) =>
      administration.audit(query),
    )
    if (options.json) printJson(page)
    else printTable(page.entries.map((entry) => ({ ...entry })))
  })
}
