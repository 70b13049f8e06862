import { createKey, loadConfig, openStore } from '@cob/server'
import { CliError } from '../cli-error.ts'
import type { AddCommand } from '../command.ts'
import { printJson, printTable } from '../print.ts'

/** Keys are kept in the data folder; a running server sees a change at once. */
export const addKeys: AddCommand = (program) => {
  const keys = program
    .command('keys')
    .description('Make, list and disable keys, with or without a running server.')

  keys
    .command('create')
    .description('Make a key and print its secret.')
    .argument('[name]', 'what it is for', '')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  cob keys create "course 101"')
    .action((name: string, { json }: { json?: boolean }) =>
      withStore((store) => {
        const key = createKey(name)
        store.addKey(key)
        const { accessKey, secretKey } = key
        if (json) printJson({ accessKey, secretKey, name })
        else process.stdout.write(`${accessKey}:${secretKey}\n`)
      }),
    )
  keys
    .command('list')
    .description('List the keys, without their secrets.')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) =>
      withStore((store) => {
        const rows = store.listKeys().map(({ accessKey, name, createdAt, disabledAt }) => ({
          accessKey,
          name,
          created: new Date(createdAt).toISOString(),
          disabled: disabledAt === null ? null : new Date(disabledAt).toISOString(),
        }))
        if (json) printJson({ keys: rows })
        else printTable(rows)
      }),
    )
  keys
    .command('disable')
    .description('Disable a key; its requests are refused from now on.')
    .argument('<accessKey>')
    .option('--json', 'print JSON')
    .action((accessKey: string, { json }: { json?: boolean }) =>
      withStore((store) => {
        if (!store.disableKey(accessKey, Date.now()))
          throw new CliError(`There is no key ${accessKey}. "cob keys list" lists them.`, 1)
        if (json) printJson({ accessKey, disabled: true })
        else process.stdout.write(`${accessKey} is disabled.\n`)
      }),
    )
}

function withStore(use: (store: ReturnType<typeof openStore>) => void): void {
  const store = openStore(loadConfig())
  try {
    use(store)
  } finally {
    store.close()
  }
}
