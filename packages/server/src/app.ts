import { readFileSync } from 'node:fs'
import type { Server } from 'node:net'
import path from 'node:path'
import { createLocalBackend } from './backend/local/local-backend.ts'
import type { Config } from './config.ts'
import { openDataFolder, type ServerInfo } from './data-folder.ts'
import { createHttpServer } from './http/server.ts'
import { createLangs } from './langs/registry.ts'
import { createLogger } from './observe/logger.ts'
import { createSessions } from './sessions/manager.ts'
import { openFirstKey } from './store/first-key.ts'
import { formatKey } from './store/key.ts'
import { createSqliteStore } from './store/sqlite-store.ts'
import type { Store } from './store/store.ts'

const KB = 1024
const REPOSITORY = path.resolve(import.meta.dirname, '../../..')

export interface RunningServer {
  readonly url: string
  /** `accessKey:secretKey` of the first key. */
  readonly key: string
  /** True when this start made the key. */
  readonly firstStart: boolean
  /** Ends every session, then the server. Idempotent. */
  close(): Promise<void>
}

export interface ServeOptions {
  /** Nobody will start a server on this data folder again: what a crash leaves must go by itself. */
  readonly isTemporary?: boolean
}

/** The composition root: the only place that names concrete backends and stores. */
export async function serve(
  config: Config,
  { isTemporary = false }: ServeOptions = {},
): Promise<RunningServer> {
  const logger = createLogger(config.logLevel)
  const closers: (() => unknown)[] = []
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const folder = openDataFolder(config.dataDir)
    closers.push(() => folder.close())
    const store = openStore(config)
    closers.push(() => store.close())
    const first = openFirstKey(store, folder, config.bootstrapKey)

    const [backend, langs] = await Promise.all([
      createLocalBackend({
        dataDir: folder.path(),
        uidBase: config.uidBase,
        uidCount: config.uidCount,
        allowUnenforced: config.allowUnenforcedLimits,
        endWithServer: isTemporary,
        storage: {
          homeBytes: config.workSizeKb * KB,
          tmpBytes: config.tmpSizeKb * KB,
          shmBytes: config.tmpSizeKb * KB,
        },
        log: logger,
      }),
      createLangs({
        langsDir: path.join(REPOSITORY, 'langs'),
        agentDir: path.join(REPOSITORY, 'agent'),
        bundleDir: folder.path('bundles'),
      }),
    ])
    closers.push(() => backend.close())
    const sessions = createSessions({
      backend,
      langs,
      limits: {
        memoryKb: { default: config.defaultMemoryKb, max: config.maxMemoryKb },
        queryTimeoutMs: { default: config.defaultQueryTimeoutMs, max: config.maxQueryTimeoutMs },
        idleTimeoutMs: { default: config.defaultIdleTimeoutMs, max: config.maxIdleTimeoutMs },
        cpuCreditMs: { default: config.defaultCpuCreditMs, max: config.maxCpuCreditMs },
      },
      maxKernels: config.maxKernels,
      maxKernelsPerKey: config.maxKernelsPerKey,
      maxProcesses: config.maxProcesses,
      maxQueued: config.maxQueued,
      logger,
    })
    let ready = true
    const http = createHttpServer({
      sessions,
      langs,
      store,
      logger,
      version: readVersion(),
      maxBodyBytes: config.maxBodyBytes,
      rateLimit: { perKey: config.rateLimit, perAddress: config.rateLimitAddress },
      ready: () => ready,
    })
    // Sessions end before the listener closes, so that the answers of running code still get out.
    closers.push(
      () => http.close(),
      () => sessions.close(),
      () => {
        ready = false
      },
    )

    await http.listen({ host: config.host, port: config.port })
    const url = toUrl(config.host, http.server.address())
    const info: ServerInfo = { url, pid: process.pid, startedAt: new Date().toISOString() }
    closers.push(() => folder.remove('server.json'))
    folder.write('server.json', `${JSON.stringify(info)}\n`)
    logger.info({ url, dataDir: folder.path() }, `Cob listens on ${url}.`)

    let closed: Promise<void> | undefined
    return {
      url,
      key: formatKey(first.key),
      firstStart: first.created,
      close: () => (closed ??= closeAll()),
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** The keys of a data folder; also while a server uses it. */
export function openStore(config: Pick<Config, 'dataDir'>): Store {
  return createSqliteStore(path.join(config.dataDir, 'cob.db'))
}

function toUrl(host: string, address: ReturnType<Server['address']>): string {
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  const name = host.includes(':') ? `[${host}]` : host
  return `http://${name}:${address.port}`
}

function readVersion(): string {
  // The file is ours and npm requires the field.
  const manifest = JSON.parse(readFileSync(path.join(import.meta.dirname, '../package.json'), 'utf8')) as {
    version: string
  }
  return manifest.version
}
