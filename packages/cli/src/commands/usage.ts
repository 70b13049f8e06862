import { keyUsageSchema, sessionUsageSchema } from '@cob/protocol'
import { loadConfig, toCsv } from '@cob/server'
import { type PagedQuery, type Query, withAdministration } from '../administration.ts'
import type { Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { parseInstant } from '../parse.ts'
import { printJson, printTable } from '../print.ts'
import { addTargetOptions } from '../target-options.ts'

interface Options extends Target {
  readonly of?: string
  readonly from?: string
  readonly to?: string
  readonly sessions?: boolean
  readonly csv?: boolean
  readonly json?: boolean
}

const PAGE = 10_000

/** What sessions that have ended used; of the server there is, or of the data folder. */
export const addUsage: AddCommand = (program) => {
  addTargetOptions(
    program
      .command('usage')
      .description('Tell what sessions that have ended used, by key.')
      .option('--of <accessKey>', 'of this key only')
      .option('--from <time>', 'that ended at this time or later, ISO 8601', parseInstant)
      .option('--to <time>', 'that ended before this time', parseInstant)
      .option('--sessions', 'one by one')
      .option('--csv', 'print CSV')
      .addHelpText('after', '\nExample:\n  cob usage --from 2026-01-01 --to 2026-02-01 --csv > january.csv'),
  ).action(async (options: Options) => {
    const { of: key, from, to } = options
    const query: Query = { ...(key && { key }), ...(from && { from }), ...(to && { to }) }
    await withAdministration(options, loadConfig(), async (administration) => {
      if (!options.sessions) {
        show(keyUsageSchema.keyof().options, 'keys', await administration.usageOfKeys(query), options)
        return
      }
      const sessions = []
      for (let page: PagedQuery | undefined = { ...query, limit: PAGE }; page; ) {
        const { sessions: some, next } = await administration.usageOfSessions(page)
        sessions.push(...some)
        page = next === null ? undefined : { ...page, after: next }
      }
      show(sessionUsageSchema.keyof().options, 'sessions', sessions, options)
    })
  })
}

function show<Row extends Record<string, unknown>>(
  fields: readonly (keyof Row & string)[],
  name: string,
  rows: readonly Row[],
  { csv, json }: Options,
): void {
  if (csv) process.stdout.write(toCsv(fields, rows))
  else if (json) printJson({ [name]: rows })
  else printTable(rows)
}
