import { loadConfig } from '@cob/server'
import type { Command } from 'commander'
import { type Client, createClient, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { printJson, printTable } from '../print.ts'

type Options = Target & { json?: boolean }

/** Kernels of a running server, through its API. */
export const addKernels: AddCommand = (program) => {
  const kernels = program
    .command('kernels')
    .description("A running server's kernels: list, info, restart, destroy.")
    .addHelpText('after', '\nExamples:\n  cob kernels list\n  cob kernels info TSSJT2Z4SnmQhxjWMnJljg --json')
  const verb = (name: string, description: string, example: string): Command =>
    kernels
      .command(name)
      .description(description)
      .addHelpText('after', `\nExample:\n  cob kernels ${example}`)
      .option('--url <url>', 'the server (COB_URL, or the one that uses the data folder)')
      .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
      .option('--json', 'print JSON')
  const client = (options: Options): Client => createClient(loadConfig(), options)

  verb(
    'list',
    'List the live kernels of the key.',
    'list --url http://127.0.0.1:8081 --key AK...:...',
  ).action(async (options: Options) => {
    const live = await client(options).list()
    if (options.json) printJson({ kernels: live })
    else {
      printTable(
        live.map(({ kernelId, lang, status, age, idle, memoryUsed, cpuCreditUsed, clientSessionToken }) => ({
          kernelId,
          lang,
          status,
          'age ms': age,
          'idle ms': idle,
          'memory KB': memoryUsed,
          'CPU ms': cpuCreditUsed,
          token: clientSessionToken,
        })),
      )
    }
  })
  verb('info', 'Tell everything about one kernel.', 'info TSSJT2Z4SnmQhxjWMnJljg')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      const { isolation, ...rest } = await client(options).info(id)
      if (options.json) printJson({ ...rest, isolation })
      else
        printTable(
          Object.entries({ ...rest, ...isolation }).map(([field, value]) => ({
            field,
            value: Array.isArray(value) ? value.join(' ') || '-' : value,
          })),
        )
    })
  verb('restart', 'Restart one kernel: files stay, variables go.', 'restart TSSJT2Z4SnmQhxjWMnJljg')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      await client(options).restart(id)
      if (options.json) printJson({ kernelId: id, restarted: true })
      else process.stdout.write(`${id} restarted.\n`)
    })
  verb('destroy', 'Destroy one kernel.', 'destroy TSSJT2Z4SnmQhxjWMnJljg')
    .argument('<id>')
    .action(async (id: string, options: Options) => {
      await client(options).destroy(id)
      if (options.json) printJson({ kernelId: id, destroyed: true })
      else process.stdout.write(`${id} destroyed.\n`)
    })
}
