import { NETWORKS, type Network } from '@cob/protocol'
import { type Config, createKey, loadConfig, makeFolder, openStore } from '@cob/server'
import { Option } from 'commander'
import { CliError } from '../cli-error.ts'
import type { AddCommand } from '../command.ts'
import { printJson, printTable } from '../print.ts'

type Store = ReturnType<typeof openStore>

/** Keys are kept in the data folder; a running server sees a change at once. */
export const addKeys: AddCommand = (program) => {
  const keys = program
    .command('keys')
    .description('Make, list and disable keys, with or without a running server.')
    .addHelpText('after', '\nExamples:\n  cob keys create "course 101"\n  cob keys list --json')

  keys
    .command('create')
    .description('Make a key and print its secret.')
    .argument('[name]', 'what it is for', '')
    .addOption(
      new Option(
        '--network <which>',
        "what its kernels reach; the server's COB_NETWORK if not given",
      ).choices(NETWORKS),
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  cob keys create "course 101"\n  cob keys create --network egress "agents"',
    )
    .action((name: string, { json, network }: { json?: boolean; network?: Network }) =>
      withStore((store) => {
        const key = createKey(name, network)
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
    .addHelpText('after', '\nExample:\n  cob keys list')
    .action(({ json }: { json?: boolean }) =>
      withStore((store) => {
        const rows = store.listKeys().map(({ accessKey, name, createdAt, disabledAt, network }) => ({
          accessKey,
          name,
          network,
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
    .addHelpText('after', '\nExample:\n  cob keys disable AK0123456789ABCDEF0123')
    .action((accessKey: string, { json }: { json?: boolean }) =>
      withStore((store) => {
        if (!store.disableKey(accessKey, Date.now()))
          throw new CliError(`There is no key ${accessKey}. "cob keys list" lists them.`, 1)
        if (json) printJson({ accessKey, disabled: true })
        else process.stdout.write(`${accessKey} is disabled.\n`)
      }),
    )
}

function withStore(use: (store: Store) => void): void {
  const config = loadConfig()
  const store = openKeys(config)
  try {
    use(store)
  } finally {
    store.close()
  }
}

/** Also before the first start of a server. */
function openKeys(config: Config): Store {
  try {
    makeFolder(config.dataDir, 0o700)
    return openStore(config)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError(
      `The keys in ${config.dataDir} cannot be opened: ${why}. COB_DATA_DIR names the folder.`,
      1,
      { cause },
    )
  }
}
