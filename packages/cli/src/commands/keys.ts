import type { ChangeKey, KeyInfo, KeyInUse, KeyWithSecret } from '@cob/protocol'
import { KEY_ROLES, NETWORKS } from '@cob/protocol'
import { loadConfig } from '@cob/server'
import { type Command, Option } from 'commander'
import { type Administration, withAdministration } from '../administration.ts'
import type { Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { parseInstant, parseWhole } from '../parse.ts'
import { printJson, printTable } from '../print.ts'
import { addTargetOptions } from '../target-options.ts'

type Options = Target & { readonly json?: boolean }
type Limits = NonNullable<ChangeKey['limits']>

interface KeyOptions extends Options {
  readonly name?: string
  readonly role?: ChangeKey['role']
  readonly expires?: string
  readonly kernels?: number | Unset
  readonly memory?: number | Unset
  readonly requests?: number | Unset
  readonly cpuPerDay?: number | Unset
  readonly network?: (typeof NETWORKS)[number] | Unset
  readonly langs?: string[] | Unset
}

/** What stands for the server's own setting. */
const DEFAULT = 'default'
const NEVER = 'never'
type Unset = typeof DEFAULT

/** Keys of the server that runs, or of the data folder where none does. */
export const addKeys: AddCommand = (program) => {
  const keys = program
    .command('keys')
    .description('Make, list, limit, disable and rotate keys: of the server there is, or of the data folder.')
    .addHelpText('after', '\nExamples:\n  cob keys create "course 101" --kernels 20\n  cob keys list --json')
  const verb = (name: string, description: string, example: string): Command =>
    addTargetOptions(
      keys.command(name).description(description).addHelpText('after', `\nExample:\n  cob keys ${example}`),
    )
  const use = <T>(options: Target, act: (administration: Administration) => Promise<T>): Promise<T> =>
    withAdministration(options, loadConfig(), act)

  addLimitOptions(
    verb('create', 'Make a key and print it with its secret.', 'create "course 101" --role admin'),
  )
    .argument('[name]', 'what it is for', '')
    .action(async (name: string, options: KeyOptions) => {
      const request = { ...toChange(options), name }
      showSecret(await use(options, (administration) => administration.createKey(request)), options)
    })
  verb('list', 'List the keys, without their secrets.', 'list').action(async (options: Options) => {
    const all = await use(options, (administration) => administration.listKeys())
    if (options.json) printJson({ keys: all })
    else printTable(all.map(toRow))
  })
  verb('show', 'Tell everything about a key but its secret.', 'show AK0123456789ABCDEF0123')
    .argument('<accessKey>')
    .action(async (accessKey: string, options: Options) =>
      show(await use(options, (administration) => administration.showKey(accessKey)), options),
    )
  addLimitOptions(
    verb(
      'set',
      'Change the limits, role, name or expiry of a key.',
      'set AK01... --kernels 5 --network default',
    ),
  )
    .option('--name <name>', 'what it is for')
    .argument('<accessKey>')
    .action(async (accessKey: string, options: KeyOptions) => {
      const request = toChange(options)
      show(await use(options, (administration) => administration.changeKey(accessKey, request)), options)
    })
  verb('disable', 'Disable a key; its requests are refused from now on.', 'disable AK0123456789ABCDEF0123')
    .argument('<accessKey>')
    .action(async (accessKey: string, options: Options) => {
      const key = await use(options, (administration) => administration.disableKey(accessKey))
      if (options.json) printJson(key)
      else process.stdout.write(`${accessKey} is disabled. Its kernels stay until they idle out.\n`)
    })
  verb('enable', 'Take a disabled key again.', 'enable AK0123456789ABCDEF0123')
    .argument('<accessKey>')
    .action(async (accessKey: string, options: Options) => {
      const key = await use(options, (administration) => administration.enableKey(accessKey))
      if (options.json) printJson(key)
      else process.stdout.write(`${accessKey} is enabled.\n`)
    })
  verb('rotate', 'Give a key a new secret and print it.', 'rotate AK0123456789ABCDEF0123 --overlap 3600000')
    .argument('<accessKey>')
    .option(
      '--overlap <ms>',
      'how long the old secret stays valid; 0: not at all; one day if not given',
      parseWhole,
    )
    .action(async (accessKey: string, options: Options & { overlap?: number }) =>
      showSecret(
        await use(options, (administration) => administration.rotateKey(accessKey, options.overlap)),
        options,
      ),
    )
}

function addLimitOptions(command: Command): Command {
  const orDefault = (text: string): number | Unset => (text === DEFAULT ? DEFAULT : parseWhole(text))
  return command
    .addOption(new Option('--role <role>', 'what it may do').choices(KEY_ROLES))
    .option('--expires <time>', `not valid from then on, ISO 8601; "${NEVER}"`, (text) =>
      text === NEVER ? NEVER : parseInstant(text),
    )
    .option('--kernels <number>', `kernels at once; "${DEFAULT}": as the server's settings say`, orDefault)
    .option('--memory <KB>', 'memory of all its kernels together', orDefault)
    .option('--requests <number>', 'requests in 15 minutes', orDefault)
    .option('--cpu-per-day <ms>', 'CPU time of all its kernels in a day', orDefault)
    .addOption(
      new Option(
        '--network <which>',
        "what its kernels reach; the server's COB_NETWORK if not given",
      ).choices([...NETWORKS, DEFAULT]),
    )
    .option('--langs <list>', `kernel types it may use, as python3,bash; "${DEFAULT}": all`, (text) =>
      text === DEFAULT ? DEFAULT : text.split(',').filter((lang) => lang !== ''),
    )
}

/** Only what was given. */
function toChange(options: KeyOptions): ChangeKey {
  const { name, role, expires, kernels, memory, requests, cpuPerDay, network, langs } = options
  const set = <T>(value: T | Unset): T | null => (value === DEFAULT ? null : value)
  const limits: Limits = {
    ...(kernels !== undefined && { maxKernels: set(kernels) }),
    ...(memory !== undefined && { maxMem: set(memory) }),
    ...(requests !== undefined && { rateLimit: set(requests) }),
    ...(cpuPerDay !== undefined && { maxCpuPerDay: set(cpuPerDay) }),
    ...(network !== undefined && { network: set(network) }),
    ...(langs !== undefined && { langs: set(langs) }),
  }
  return {
    ...(name !== undefined && { name }),
    ...(role !== undefined && { role }),
    ...(expires !== undefined && { expiresAt: expires === NEVER ? null : expires }),
    limits,
  }
}

function showSecret(key: KeyWithSecret, { json }: Options): void {
  if (json) printJson(key)
  else process.stdout.write(`${key.accessKey}:${key.secretKey}\n`)
  if (key.previousSecretValidUntil !== null)
    process.stderr.write(`The old secret is valid until ${key.previousSecretValidUntil}.\n`)
}

function toRow({ accessKey, name, role, isValid, createdAt, expiresAt, limits }: KeyInfo) {
  const { network, ...others } = limits
  const set = Object.entries(others).filter(([, value]) => value !== null)
  return {
    accessKey,
    name,
    role,
    network,
    valid: isValid ? 'yes' : 'no',
    created: createdAt,
    expires: expiresAt,
    limits: set.map(([limit, value]) => `${limit}=${value}`).join(' ') || null,
  }
}

function show({ limits, inUse, ...key }: KeyInfo & { inUse?: KeyInUse }, { json }: Options): void {
  if (json) printJson({ ...key, limits, ...(inUse && { inUse }) })
  else
    printTable(
      Object.entries({ ...key, ...limits, ...inUse }).map(([field, value]) => ({
        field,
        value: Array.isArray(value) ? value.join(' ') || 'none' : value,
      })),
    )
}
