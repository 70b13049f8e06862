import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { KEY_PATTERN, MAX_FRAME_BYTES, NETWORKS } from '@cob/protocol'
import { z } from 'zod'

/** Room for the JSON around a body's code in one frame of the channel. */
const FRAME_OVERHEAD_BYTES = 65_536
const IMAGES = ['kitty', 'iterm2', 'sixel', 'file'] as const
const METRICS = ['loopback', 'key', 'public'] as const
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** Environment variables are strings; numbers in the file may be numbers. */
const whole = (min: number, max: number = Number.MAX_SAFE_INTEGER) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value),
    z
      .int(`a whole number from ${min} to ${max}`)
      .min(min, `a whole number from ${min} to ${max}`)
      .max(max, `a whole number from ${min} to ${max}`),
  )
const flag = z.preprocess(
  (value) => (value === '1' || value === 'true' ? true : value === '0' || value === 'false' ? false : value),
  z.boolean('1 or 0'),
)
const text = z.string().min(1, 'not empty')
/** As browsers send it: no path, no default port. */
const isOrigin = (given: string): boolean => URL.canParse(given) && new URL(given).origin === given
const origins = z.preprocess(
  (value) => (typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value),
  z
    .array(z.string(), 'a list of origins')
    .refine((given) => given.every(isOrigin), 'origins separated by commas, such as https://app.example.org'),
)
const key = z
  .string()
  .regex(
    KEY_PATTERN,
    'accessKey:secretKey, letters, digits, _ . - before the colon and printable characters behind it',
  )

/** By a kernel type's name as it stands in a variable. */
const DEFAULT_WARM: Readonly<Record<string, number>> = { PYTHON3: 4 }

interface Meta {
  readonly help: string
  readonly unit?: string
  /** What stands for its variable where that has many names. */
  readonly variable?: string
  /** Its value is shown to nobody. */
  readonly isSecret?: boolean
  /** What stands for the default where it depends on the machine. */
  readonly defaultText?: string
}
const settings = z.registry<Meta>()
const describe = <S extends z.ZodType>(schema: S, meta: Meta): S => {
  settings.add(schema, meta)
  return schema
}

/** Every setting. `COB_` and the name in capitals is its variable; the name itself its key in the file. */
const configSchema = z.strictObject({
  host: describe(text.default('127.0.0.1'), {
    help: 'Address to listen on. One that other machines reach needs TLS, or COB_ALLOW_PLAINTEXT.',
  }),
  port: describe(whole(0, 65_535).default(8081), { help: 'Port to listen on; 0 picks a free one.' }),
  dataDir: describe(text.optional(), {
    help: 'Folder for keys, sockets and server.json.',
    defaultText: '$XDG_DATA_HOME/cob or ~/.local/share/cob',
  }),
  bootstrapKey: describe(key.optional(), {
    help: 'First key, `accessKey:secretKey`; created at start if absent.',
    isSecret: true,
    defaultText: 'made at the first start',
  }),
  tlsCert: describe(text.optional(), {
    help: 'File of the TLS certificate, PEM, with those of its issuers behind it; read again when it changes.',
    defaultText: 'none: plain HTTP',
  }),
  tlsKey: describe(text.optional(), { help: 'File of its private key, PEM, without a passphrase.' }),
  allowPlaintext: describe(flag.default(false), {
    help: 'Listen without TLS where other machines reach it: behind a proxy that speaks TLS, or in a network that nobody listens to.',
  }),
  corsOrigins: describe(origins.default([]), {
    help: 'Origins whose pages may use the API, separated by commas: `https://app.example.org`.',
    defaultText: 'none',
  }),
  metrics: describe(z.enum(METRICS, `one of ${METRICS.join(', ')}`).default('loopback'), {
    help: "Who reads `/metrics` without a key, which must be an admin's otherwise: who asks from this machine (`loopback`), nobody (`key`), or everybody (`public`).",
  }),
  logCode: describe(flag.default(false), {
    help: 'Log the code that sessions run and what it puts out, which may hold anything: passwords, personal data.',
  }),
  masterKey: describe(
    z
      .string()
      .regex(/^[0-9A-Fa-f]{64}$/, '64 hexadecimal digits')
      .optional(),
    {
      help: 'What the secrets of keys are encrypted with, as `openssl rand -hex 32` makes it.',
      defaultText: 'the file `master-key` in the data folder, made at the first start',
      isSecret: true,
    },
  ),
  usageDays: describe(whole(1, 36_500).default(400), {
    unit: 'days',
    help: 'How long it is kept what each session used.',
  }),
  auditDays: describe(whole(1, 36_500).default(90), {
    unit: 'days',
    help: 'How long the audit log is kept; at most a million entries.',
  }),
  logLevel: describe(z.enum(LOG_LEVELS, `one of ${LOG_LEVELS.join(', ')}`).default('info'), {
    help: 'Least level that is logged.',
  }),

  defaultMemoryKb: describe(whole(1).default(524_288), {
    unit: 'KB',
    help: 'Memory of a kernel that asks for none.',
  }),
  maxMemoryKb: describe(whole(1).default(2_097_152), {
    unit: 'KB',
    help: 'Most memory a kernel may ask for.',
  }),
  totalMemoryKb: describe(whole(0).default(0), {
    unit: 'KB',
    help: 'Memory of all kernels together; at the limit the biggest interpreter is ended. 0: 80 % of what the machine has.',
  }),
  defaultQueryTimeoutMs: describe(whole(1).default(60_000), {
    unit: 'ms',
    help: 'Time of one query, if none is asked for.',
  }),
  maxQueryTimeoutMs: describe(whole(1).default(3_600_000), {
    unit: 'ms',
    help: 'Longest query time a kernel may ask for.',
  }),
  defaultIdleTimeoutMs: describe(whole(1).default(3_600_000), {
    unit: 'ms',
    help: 'Time without a query after which a kernel ends.',
  }),
  maxIdleTimeoutMs: describe(whole(1).default(86_400_000), {
    unit: 'ms',
    help: 'Longest idle time a kernel may ask for.',
  }),
  defaultCpuCreditMs: describe(whole(0).default(0), {
    unit: 'ms',
    help: 'CPU time of a kernel in all; 0: no limit.',
  }),
  maxCpuCreditMs: describe(whole(0).default(0), {
    unit: 'ms',
    help: 'Most CPU time a kernel may ask for; 0: no limit.',
  }),

  keepSessions: describe(flag.default(false), {
    help: 'SIGTERM leaves kernels running, and the next server on the data folder goes on with them. SIGINT (ctrl-C) and SIGHUP end them all the same.',
  }),
  maxKernels: describe(whole(1).default(1000), { help: 'Kernels of all keys together.' }),
  maxKernelsPerKey: describe(whole(1).default(500), { help: 'Kernels of one key.' }),
  maxMemoryKbPerKey: describe(whole(0).default(0), {
    unit: 'KB',
    help: 'What the kernels of one key may ask for together; 0: no limit. This and the next, like some others here, may be set for each key.',
  }),
  maxCpuMsPerDay: describe(whole(0).default(0), {
    unit: 'ms',
    help: 'CPU time of the kernels of one key in a day (UTC); 0: no limit.',
  }),
  maxProcesses: describe(whole(4, 30_000).default(128), { help: 'Processes and threads of one kernel.' }),
  maxQueued: describe(whole(1, 1000).default(16), { help: 'Executions that may wait on one kernel.' }),
  maxWarm: describe(whole(0, 1000).default(8), {
    help: 'Sandboxes of all kernel types together that are kept ready for kernels to come.',
  }),
  warm: describe(z.record(z.string(), whole(0, 1000), 'an object of numbers by kernel type'), {
    help: 'How many of one kernel type: `COB_WARM_PYTHON3=8`, `COB_WARM_JAVA=1`. 0: none. Of a kernel type not named, as many as were asked for at once in the last 5 minutes.',
    variable: 'COB_WARM_<LANG>',
    defaultText: '`4` for `python3`',
  }),
  workSizeKb: describe(whole(64).default(524_288), {
    unit: 'KB',
    help: 'Most that /home/work of a kernel may hold; counts towards its memory.',
  }),
  tmpSizeKb: describe(whole(64).default(262_144), {
    unit: 'KB',
    help: 'The same for /tmp and for /dev/shm.',
  }),

  otlpEndpoint: describe(z.url('a URL such as http://127.0.0.1:4318').optional(), {
    help: 'Collector that traces are sent to, OTLP over HTTP; `/v1/traces` is added. The exporter reads the other standard variables, such as `OTEL_EXPORTER_OTLP_HEADERS`, itself.',
    defaultText: 'none: no traces',
  }),

  network: describe(z.enum(NETWORKS, `one of ${NETWORKS.join(', ')}`).default('none'), {
    help: 'What kernels reach: nothing, or (`egress`) public addresses; a key may have a setting of its own.',
  }),
  uidBase: describe(whole(1000, 2_000_000_000).default(200_000), {
    help: 'First host uid for sandboxes, when the server runs as root.',
  }),
  uidCount: describe(whole(1, 1_000_000).default(65_536), { help: 'Number of such uids.' }),
  allowUnenforcedLimits: describe(flag.default(false), {
    help: 'Start although this host cannot enforce every limit.',
  }),

  maxBodyBytes: describe(whole(1024, MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES).default(4_194_304), {
    unit: 'bytes',
    help: 'Largest request body.',
  }),
  maxUploadBytes: describe(whole(0).default(1_073_741_824), {
    unit: 'bytes',
    help: 'Largest file that may be uploaded; what a kernel has room for is bounded by its memory.',
  }),
  rateLimit: describe(whole(1).default(1_000_000), { help: 'Requests of one key in 15 minutes.' }),
  rateLimitAddress: describe(whole(1).default(20_000), {
    help: 'Requests without a valid key from one address in 15 minutes.',
  }),

  url: describe(z.url('a URL such as http://127.0.0.1:8081').optional(), {
    help: 'For the cob command: the server to talk to.',
    defaultText: 'from server.json',
  }),
  ca: describe(text.optional(), {
    help: 'For the cob command: file of certificates, PEM, that it trusts beside those that Node does.',
    defaultText: 'none',
  }),
  key: describe(key.optional(), {
    help: 'For the cob command: the key to use.',
    isSecret: true,
    defaultText: 'from bootstrap-key',
  }),
  images: describe(z.enum(IMAGES, `one of ${IMAGES.join(', ')}`).optional(), {
    help: 'For the cob command: how the terminal is shown pictures, or `file` to have them saved.',
    defaultText: 'what the terminal is known for',
  }),
})

type Parsed = z.infer<typeof configSchema>
export type Config = Readonly<Omit<Parsed, 'dataDir'> & { dataDir: string }>

/** The configuration cannot be used; the message says what to change, a line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const PREFIX = 'COB_'
const WARM_PREFIX = 'COB_WARM_'
const FILE_VARIABLE = 'COB_CONFIG'
const NAMES = Object.keys(configSchema.shape)
/** Named by a standard (OpenTelemetry, "OTLP Exporter Configuration"). */
const OTLP_VARIABLE = 'OTEL_EXPORTER_OTLP_ENDPOINT'
const toVariable = (name: string): string =>
  name === 'otlpEndpoint'
    ? OTLP_VARIABLE
    : PREFIX + name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
const SECRETS = Object.entries(configSchema.shape)
  .filter(([, schema]) => settings.get(schema)?.isSecret)
  .map(([name]) => name)
const BY_VARIABLE = new Map(NAMES.map((name) => [toVariable(name), name]))

/**
 * Reads the settings once: those of the JSON file that `COB_CONFIG` names, overridden by the environment. Throws `ConfigError`
 * for an unknown name, a value that is not accepted, or a default above its limit.
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = []
  const given: Record<string, unknown> = { warm: {}, ...readFile(environment[FILE_VARIABLE]) }
  const warm: Record<string, unknown> = { ...DEFAULT_WARM, ...upperKeys(given.warm) }
  if (isObject(given.warm)) given.warm = warm
  for (const name of Object.keys(given)) {
    if (!NAMES.includes(name))
      problems.push(`${environment[FILE_VARIABLE]}: there is no setting "${name}".${didYouMean(name, NAMES)}`)
  }
  for (const [variable, value] of Object.entries(environment)) {
    if (value === undefined || variable === FILE_VARIABLE) continue
    if (!variable.startsWith(PREFIX) && variable !== OTLP_VARIABLE) continue
    // An empty one is one that is not set.
    if (variable === OTLP_VARIABLE && value === '') continue
    const name = BY_VARIABLE.get(variable)
    if (name === undefined && variable.startsWith(WARM_PREFIX))
      warm[variable.slice(WARM_PREFIX.length)] = value
    else if (name === undefined)
      problems.push(`There is no setting ${variable}.${didYouMean(variable, [...BY_VARIABLE.keys()])}`)
    else given[name] = value
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))

  const parsed = configSchema.safeParse(given)
  if (!parsed.success) {
    const lines = parsed.error.issues.map(({ path: steps, message }) => {
      const name = steps.join('_')
      const value = steps.reduce<unknown>((inner, step) => Object(inner)[step], given)
      const shown = SECRETS.includes(name) ? 'its value' : JSON.stringify(value)
      const variable = toVariable(name)
      const where =
        environment[variable] === undefined ? `${environment[FILE_VARIABLE]}, "${steps.join('.')}"` : variable
      return `${where}: ${shown} is not accepted; it takes ${message}.`
    })
    throw new ConfigError(lines.join('\n'))
  }
  return Object.freeze({
    ...checked(parsed.data),
    dataDir: path.resolve(parsed.data.dataDir ?? defaultDataDir(environment)),
  })
}

const PAIRS = [
  ['defaultMemoryKb', 'maxMemoryKb'],
  ['defaultQueryTimeoutMs', 'maxQueryTimeoutMs'],
  ['defaultIdleTimeoutMs', 'maxIdleTimeoutMs'],
  ['defaultCpuCreditMs', 'maxCpuCreditMs'],
] as const

function checked(config: Parsed): Parsed {
  const problems: string[] = PAIRS.filter(
    ([low, high]) => config[high] > 0 && config[low] > config[high],
  ).map(
    ([low, high]) =>
      `${toVariable(low)} is ${config[low]}, above ${toVariable(high)}, which is ${config[high]}. Lower the first or raise the second.`,
  )
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined))
    problems.push('COB_TLS_CERT and COB_TLS_KEY go together. Set both, or neither.')
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  return config
}

function readFile(file: string | undefined): Record<string, unknown> {
  if (file === undefined) return {}
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (isObject(content)) return { ...content }
    throw new Error('it is not a JSON object')
  } catch (cause) {
    throw new ConfigError(`${FILE_VARIABLE} names ${file}, which cannot be read: ${toReason(cause)}`)
  }
}

/** Of JSON, the place only: the message quotes what stands there, which may be a secret. */
function toReason(error: unknown): string {
  if (!(error instanceof SyntaxError)) return error instanceof Error ? error.message : String(error)
  const place = /\(line \d+ column \d+\)/.exec(error.message)?.[0]
  return place === undefined ? 'it is not valid JSON' : `it is not valid JSON ${place}`
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `jupyter:xpython` of a file is `JUPYTER_XPYTHON` of a variable. */
export function toWarmName(lang: string): string {
  return lang.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')
}

function upperKeys(warm: unknown): object {
  const entries = isObject(warm) ? Object.entries(warm) : []
  return Object.fromEntries(entries.map(([lang, count]) => [toWarmName(lang), count]))
}

function defaultDataDir(environment: NodeJS.ProcessEnv): string {
  return path.join(
    environment.XDG_DATA_HOME || path.join(environment.HOME || homedir(), '.local/share'),
    'cob',
  )
}

function didYouMean(name: string, known: readonly string[]): string {
  const [nearest] = known
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((a, b) => a.far - b.far)
  return nearest && nearest.far <= name.length / 2 ? ` Did you mean ${nearest.candidate}?` : ''
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** The reference page, Markdown. */
export function configReference(): string {
  const rows = Object.entries(configSchema.shape).map(([name, schema]) => {
    const meta = settings.get(schema)
    const fallback = schema.safeParse(undefined).data
    const shown = meta?.defaultText ?? (fallback === undefined ? '' : `\`${fallback}\``)
    return `| \`${meta?.variable ?? toVariable(name)}\` | ${shown} | ${meta?.unit ?? ''} | ${meta?.help ?? ''} |`
  })
  return `# Configuration

Generated from \`packages/server/src/config.ts\` by \`npm run generate\`.

Settings come from environment variables. \`${FILE_VARIABLE}\` may name a JSON file as well; its keys are the
names without \`COB_\`, in camel case (\`COB_MAX_KERNELS\` is \`maxKernels\`), and the environment wins. An
unknown name or a value that is not accepted stops the start.

| variable | default | unit | meaning |
|---|---|---|---|
${rows.join('\n')}
`
}
