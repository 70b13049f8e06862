import type { AnySession } from '@cob/protocol'
import { loadConfig } from '@cob/server'
import { createClient, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { printJson, printTable } from '../print.ts'
import { addTargetOptions } from '../target-options.ts'

type Options = Target & { readonly json?: boolean }

/** Those of all keys; needs a key with the role admin. */
export const addSessions: AddCommand = (program) => {
  const sessions = program
    .command('sessions')
    .description(
      'The live sessions of all keys: list, end. Needs an admin key; "kernels" is for a key\'s own.',
    )
    .addHelpText('after', '\nExamples:\n  cob sessions list\n  cob sessions end TSSJT2Z4SnmQhxjWMnJljg')

  addTargetOptions(
    sessions
      .command('list', { isDefault: true })
      .description('List them.')
      .addHelpText('after', '\nExample:\n  cob sessions'),
  ).action(async (options: Options) => {
    const client = createClient(loadConfig(), options)
    const all = (await client.call<{ sessions: AnySession[] }>('GET', '/v1/admin/sessions')).sessions
    if (options.json) printJson({ sessions: all })
    else
      printTable(
        all.map(({ kernelId, accessKey, lang, status, age, idle, memoryUsed, cpuCreditUsed }) => ({
          kernelId,
          accessKey,
          lang,
          status,
          'age ms': age,
          'idle ms': idle,
          'memory KB': memoryUsed,
          'CPU ms': cpuCreditUsed,
        })),
      )
  })
  addTargetOptions(
    sessions
      .command('end')
      .description("End one, whoever's it is.")
      .argument('<id>')
      .addHelpText('after', '\nExample:\n  cob sessions end TSSJT2Z4SnmQhxjWMnJljg'),
  ).action(async (id: string, options: Options) => {
    const client = createClient(loadConfig(), options)
    await client.call('DELETE', `/v1/admin/sessions/${encodeURIComponent(id)}`)
    if (options.json) printJson({ kernelId: id, ended: true })
    else process.stdout.write(`${id} has ended.\n`)
  })
}
