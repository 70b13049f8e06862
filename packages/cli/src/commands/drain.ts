import { setTimeout as delay } from 'node:timers/promises'
import type { Drain } from '@cob/protocol'
import { loadConfig } from '@cob/server'
import { CliError } from '../cli-error.ts'
import { type Client, createClient, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { printJson } from '../print.ts'
import { addTargetOptions } from '../target-options.ts'

interface Options extends Target {
  readonly stop?: boolean
  readonly wait?: boolean
  readonly undo?: boolean
  readonly status?: boolean
  readonly json?: boolean
}

const POLL_MS = 1000
const PATH = '/v1/admin/drain'

export const addDrain: AddCommand = (program) => {
  addTargetOptions(
    program
      .command('drain')
      .description('Let a server take no new sessions; those there are go on.')
      .option('--stop', 'the server ends when none is left')
      .option('--wait', 'wait until none is left, telling how many are')
      .option('--undo', 'let it take new sessions again')
      .option('--status', 'only tell how far it is')
      .addHelpText('after', '\nExamples:\n  cob drain --stop --wait\n  cob drain --undo'),
  ).action(async (options: Options) => {
    const client = createClient(loadConfig(), options)
    let drain = await begin(client, options)
    if (!options.json) process.stdout.write(toLine(drain))
    while (options.wait && drain.draining && drain.sessions > 0) {
      await delay(POLL_MS)
      const before = drain
      drain = await look(client, before)
      if (!options.json && drain.sessions !== before.sessions) process.stdout.write(toLine(drain))
    }
    if (options.json) printJson(drain)
  })
}

function begin(client: Client, { undo, status, stop = false }: Options): Promise<Drain> {
  if (undo) return client.call('DELETE', PATH)
  return status ? client.call('GET', PATH) : client.call('POST', PATH, { stop })
}

/** A server that was to stop and is gone is done. */
async function look(client: Client, before: Drain): Promise<Drain> {
  try {
    return await client.call<Drain>('GET', PATH)
  } catch (error) {
    if (before.stop && error instanceof CliError && error.exitCode === 3) return { ...before, sessions: 0 }
    throw error
  }
}

function toLine({ draining, sessions, stop }: Drain): string {
  if (!draining) return 'The server takes new sessions.\n'
  const left = sessions === 0 ? 'none is left' : `${sessions} are left`
  return `No new sessions; ${left}.${stop ? ' The server ends when none is.' : ''}\n`
}
