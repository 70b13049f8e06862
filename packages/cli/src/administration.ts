import { mkdirSync } from 'node:fs'
import {
  type AuditAction,
  type AuditEntry,
  type ChangeKey,
  type CreateKey,
  changeKeySchema,
  createKeySchema,
  type KeyInfo,
  type KeyInUse,
  type KeyUsage,
  type KeyWithSecret,
  type SessionUsage,
} from '@cob/protocol'
import { CobError, type Config, openAdministration } from '@cob/server'
import { CliError } from './cli-error.ts'
import { type Client, createClient, findServer, type Target } from './client.ts'

/** Of usage and actions; instants are ISO 8601. */
export interface Query {
  readonly key?: string
  readonly from?: string
  readonly to?: string
}
export interface PagedQuery extends Query {
  readonly limit: number
  readonly after?: number
}

/** What an admin may do whether a server runs or not. */
export interface Administration {
  listKeys(): Promise<KeyInfo[]>
  /** `inUse` where a server runs. */
  showKey(accessKey: string): Promise<KeyInfo & { inUse?: KeyInUse }>
  createKey(request: CreateKey): Promise<KeyWithSecret>
  changeKey(accessKey: string, request: ChangeKey): Promise<KeyInfo>
  disableKey(accessKey: string): Promise<KeyInfo>
  enableKey(accessKey: string): Promise<KeyInfo>
  rotateKey(accessKey: string, overlapMs: number | undefined): Promise<KeyWithSecret>
  usageOfKeys(query: Query): Promise<KeyUsage[]>
  usageOfSessions(query: PagedQuery): Promise<{ sessions: SessionUsage[]; next: number | null }>
  audit(query: PagedQuery): Promise<{ entries: AuditEntry[]; next: number | null }>
}

/** Through the API of the server there is; of the data folder where none runs. */
export async function withAdministration<T>(
  target: Target,
  config: Config,
  use: (administration: Administration) => Promise<T>,
): Promise<T> {
  if ((target.url ?? config.url ?? findServer(config)) !== undefined)
    return use(ofServer(createClient(config, target)))
  const { administration, close } = ofFolder(config)
  try {
    return await use(administration)
  } catch (error) {
    if (error instanceof CobError) throw new CliError(`${error.title}: ${error.message}`, 1, { cause: error })
    throw error
  } finally {
    close()
  }
}

function ofServer({ call }: Client): Administration {
  const key = (accessKey: string): string => `/v1/admin/keys/${encodeURIComponent(accessKey)}`
  const ask = (query: object): string => {
    const given = Object.entries(query).filter(([, value]) => value !== undefined)
    return new URLSearchParams(
      Object.fromEntries(given.map(([name, value]) => [name, String(value)])),
    ).toString()
  }
  return {
    listKeys: async () => (await call<{ keys: KeyInfo[] }>('GET', '/v1/admin/keys')).keys,
    showKey: (accessKey) => call('GET', key(accessKey)),
    createKey: (request) => call('POST', '/v1/admin/keys', request),
    changeKey: (accessKey, request) => call('PATCH', key(accessKey), request),
    disableKey: (accessKey) => call('POST', `${key(accessKey)}/disable`),
    enableKey: (accessKey) => call('POST', `${key(accessKey)}/enable`),
    rotateKey: (accessKey, overlapMs) => call('POST', `${key(accessKey)}/rotate`, { overlapMs }),
    usageOfKeys: async (query) =>
      (await call<{ keys: KeyUsage[] }>('GET', `/v1/admin/usage?${ask(query)}`)).keys,
    usageOfSessions: (query) => call('GET', `/v1/admin/usage?${ask({ ...query, by: 'session' })}`),
    audit: (query) => call('GET', `/v1/admin/audit?${ask(query)}`),
  }
}

/** Also before the first start of a server. What is changed is in the audit log as done by `cob`. */
function ofFolder(config: Config): { administration: Administration; close: () => void } {
  const { keys, records, store } = open(config)
  const audited = async <T extends { accessKey: string }>(
    action: AuditAction,
    accessKey: string | null,
    change: () => T,
  ): Promise<T> => {
    const write = (target: string | null, outcome: string): void =>
      store.addAudit({ at: Date.now(), who: 'cob', action, target, requestId: null, outcome })
    try {
      const changed = change()
      write(changed.accessKey, 'ok')
      return changed
    } catch (error) {
      if (error instanceof CobError) write(accessKey, error.code)
      throw error
    }
  }
  const administration: Administration = {
    listKeys: async () => keys.list(),
    showKey: async (accessKey) => keys.find(accessKey),
    createKey: (request) => audited('key.create', null, () => keys.create(parse(createKeySchema, request))),
    changeKey: (accessKey, request) =>
      audited('key.change', accessKey, () => keys.change(accessKey, parse(changeKeySchema, request))),
    disableKey: (accessKey) => audited('key.disable', accessKey, () => keys.disable(accessKey)),
    enableKey: (accessKey) => audited('key.enable', accessKey, () => keys.enable(accessKey)),
    rotateKey: (accessKey, overlapMs) =>
      audited('key.rotate', accessKey, () => keys.rotate(accessKey, overlapMs)),
    usageOfKeys: async (query) => records.usageOfKeys(query),
    usageOfSessions: async (query) => records.usageOfSessions(query),
    audit: async (query) => records.audit(query),
  }
  return { administration, close: () => store.close() }
}

function open(config: Config): ReturnType<typeof openAdministration> {
  try {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
    return openAdministration(config)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError(
      `The keys in ${config.dataDir} cannot be opened: ${why.replace(/\.$/, '')}. COB_DATA_DIR names the folder.`,
      1,
      { cause },
    )
  }
}

/** What a server would refuse is refused here as well. */
function parse(schema: typeof changeKeySchema, request: ChangeKey): ChangeKey {
  const parsed = schema.safeParse(request)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new CliError(`This is not accepted: ${problems.join('; ')}.`, 1)
}
