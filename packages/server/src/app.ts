import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Server as TlsServer } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { createKeys, type Keys } from './access/keys.ts'
import { createQuotas } from './access/quotas.ts'
import { createRecords, type Records } from './access/records.ts'
import { startRetention } from './access/retention.ts'
import { type Check, type OnCheck, toError } from './backend/check.ts'
import type { Layer } from './backend/local/layers.ts'
import { type Config, ConfigError } from './config.ts'
import { openCore } from './core.ts'
import { openDataFolder, type ServerInfo } from './data-folder.ts'
import { ERRORS } from './errors.ts'
import { type Certificate, openCertificate } from './http/certificate.ts'
import { isReachable } from './http/loopback.ts'
import { createHttpServer } from './http/server.ts'
import { createCodeLog } from './observe/code-log.ts'
import { createLogger, type Logger } from './observe/logger.ts'
import { createMetrics } from './observe/metrics.ts'
import { createObserver } from './observe/observer.ts'
import { openTracing } from './observe/open-tracing.ts'
import { keepFirstKey, openFirstKey } from './store/first-key.ts'
import { guardStore } from './store/guarded-store.ts'
import { formatKey } from './store/key.ts'
import { createMasterKeyOpener } from './store/master-key.ts'
import { createSqliteStore } from './store/sqlite-store.ts'
import type { Store } from './store/store.ts'

/** How long transfers under way have when sessions are left to another server. */
const LEAVE_MS = 5000

export interface RunningServer {
  readonly url: string
  /** `accessKey:secretKey` of the first key. */
  readonly key: string
  /** True when this start made the key. */
  readonly firstStart: boolean
  /** Resolves when an admin has drained the server and it is to stop; `close` is still to be called. */
  readonly drained: Promise<void>
  /** Ends every session, or, with `leave`, lets them go on for the next server; then ends the server. Idempotent. */
  close(options?: { readonly leave?: boolean }): Promise<void>
}

export interface ServeOptions {
  /** Nobody will start a server on this data folder again: what a crash leaves must go by itself. */
  readonly isTemporary?: boolean
  /** For tests: layers of the isolation to leave out. What the self-test finds then is logged only. */
  readonly without?: readonly Layer[]
  /** For tests: another agent. */
  readonly agentDir?: string
}

/** The composition root: the only place that names concrete backends and stores. */
export async function serve(config: Config, options: ServeOptions = {}): Promise<RunningServer> {
  const logger = createLogger(config.logLevel)
  const closers: ((how: { readonly leave: boolean }) => unknown)[] = []
  const closeAll = async (how: { readonly leave: boolean }): Promise<void> => {
    let fault: unknown
    for (const close of closers.splice(0).reverse()) {
      try {
        await close(how)
      } catch (err) {
        // The others are closed all the same.
        logger.error({ err }, 'Something could not be closed.')
        fault ??= err
      }
    }
    if (fault !== undefined) throw fault
  }
  try {
    const certificate = readCertificate(config, logger)
    if (!certificate && !config.allowPlaintext && (await isReachable(config.host)))
      throw new ConfigError(plaintextRefusal(config.host))
    const metrics = createMetrics(Object.keys(ERRORS))
    const version = readVersion()
    const tracing = await openTracing({ endpoint: config.otlpEndpoint, version, logger })
    closers.push(() => tracing?.close())
    const folder = openDataFolder(config.dataDir)
    closers.push(() => folder.close())
    const store = guardStore(openStore(config), metrics.stored)
    closers.push(() => store.close())
    const first = openFirstKey(store, folder, config.bootstrapKey)
    const retention = startRetention({ ...config, store, logger })
    closers.push(() => retention.close())
    const drained = Promise.withResolvers<void>()

    const core = await openCore(config, {
      ...options,
      dataDir: folder.path(),
      store: store.sessions,
      logger,
      observer: createObserver(
        metrics.observer,
        ...(tracing ? [tracing.observer] : []),
        ...(config.logCode ? [createCodeLog(logger)] : []),
      ),
      quotaOf: createQuotas(store, config),
      ledger: store,
      onDrained: drained.resolve,
    })
    closers.push(
      () => core.close(),
      (how) => core.endSessions(how),
    )
    const { sessions, langs } = core
    const [checks] = await Promise.all([core.selfTest(), sessions.warmUp()])
    const holes = checks.filter(({ ok }) => !ok)
    if (holes.length > 0 && !options.without)
      throw toError('Code can get out of its sandbox on this host:', holes)
    if (holes.length > 0)
      logger.error({ holes }, 'Layers of the isolation are left out: the self-test found holes.')
    if (config.logCode) logger.warn('Code that sessions run, and its output, are logged (COB_LOG_CODE).')
    let ready = true
    const http = createHttpServer({
      sessions,
      langs,
      store,
      metrics,
      metricsAccess: config.metrics,
      corsOrigins: config.corsOrigins,
      certificate: certificate?.pair,
      tracing,
      keys: createKeys({
        store,
        now: Date.now,
        onRotated: (key) => {
          if (key.accessKey !== first.key.accessKey) return
          try {
            keepFirstKey(folder, key)
          } catch (err) {
            // It holds all the same, and the next start writes it there.
            logger.error({ err }, 'The file of the first key could not be written.')
          }
        },
      }),
      logger,
      version,
      maxBodyBytes: config.maxBodyBytes,
      rateLimit: { perKey: config.rateLimit, perAddress: config.rateLimitAddress },
      ready: () => ready,
    })
    // Sessions end before the listener closes, so that the answers of running code still get out.
    closers.push(
      (how) => closeHttp(http, how),
      (how) => core.endSessions(how),
      () => {
        ready = false
      },
    )

    await http.listen({ host: config.host, port: config.port })
    if (certificate) {
      metrics.certified(certificate.validUntil)
      const following = certificate.follow((pair, validUntil) => {
        toTlsServer(http.server).setSecureContext(pair)
        metrics.certified(validUntil)
      })
      closers.push(() => following.close())
    }
    const url = toUrl(config.host, http.server.address(), certificate)
    const info: ServerInfo = { url, pid: process.pid, startedAt: new Date().toISOString() }
    closers.push(() => folder.remove('server.json'))
    folder.write('server.json', `${JSON.stringify(info)}\n`)
    logger.info({ url, dataDir: folder.path() }, `Cob listens on ${url}.`)

    let closed: Promise<void> | undefined
    return {
      url,
      key: formatKey(first.key),
      firstStart: first.created,
      drained: drained.promise,
      close: ({ leave = false } = {}) => (closed ??= closeAll({ leave })),
    }
  } catch (error) {
    // Sessions of an earlier server are not to end because this one does not start.
    await closeAll({ leave: true }).catch(() => {})
    throw error
  }
}

/**
 * Finds out what this machine can hold, without serving: what a start would check, told one by one, and the
 * self-test. Resolves with whether all of it is well. Needs no data folder and disturbs no running server.
 */
export async function examine(config: Config, onCheck: OnCheck): Promise<boolean> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-doctor-'))
  let isWell = true
  const tell = (check: Check): void => {
    isWell &&= check.ok
    onCheck(check)
  }
  // The last uid of the range: a running server hands them out from the first.
  const uids = { uidBase: config.uidBase + config.uidCount - 1, uidCount: 1 }
  try {
    const core = await openCore(
      { ...config, ...uids, allowUnenforcedLimits: true },
      {
        dataDir,
        isTemporary: true,
        logger: createLogger('silent'),
        onCheck: tell,
      },
    )
    try {
      for (const check of await core.selfTest()) tell(check)
    } finally {
      await core.endSessions({ leave: false })
      await core.close()
    }
  } catch (error) {
    // What kept a sandbox from being made has been told.
    if (isWell) throw error
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
  return isWell
}

/** Who reads an answer slowly, or sends a file, does not keep the next server from starting for long. */
async function closeHttp(http: FastifyInstance, { leave }: { readonly leave: boolean }): Promise<void> {
  const timer = leave ? setTimeout(() => http.server.closeAllConnections(), LEAVE_MS) : undefined
  await http.close()
  clearTimeout(timer)
}

/** What a data folder keeps of keys, usage and actions; also while a server uses it. */
export function openStore({ dataDir, masterKey }: Pick<Config, 'dataDir' | 'masterKey'>): Store {
  const openMasterKey = createMasterKeyOpener(path.join(dataDir, 'master-key'), masterKey)
  return createSqliteStore(path.join(dataDir, 'cob.db'), openMasterKey)
}

/** The same for the `cob` command, where no server runs. */
export function openAdministration(config: Pick<Config, 'dataDir' | 'masterKey'>): {
  keys: Keys
  records: Records
  store: Store
} {
  const store = openStore(config)
  return { keys: createKeys({ store, now: Date.now }), records: createRecords(store), store }
}

function readCertificate({ tlsCert, tlsKey }: Config, logger: Logger): Certificate | undefined {
  if (tlsCert === undefined || tlsKey === undefined) return undefined
  try {
    return openCertificate({ certFile: tlsCert, keyFile: tlsKey, logger })
  } catch (cause) {
    throw new ConfigError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function plaintextRefusal(host: string): string {
  return `COB_HOST is ${host}, which other machines may reach, and what they send would be readable on the way, keys included. Set COB_TLS_CERT and COB_TLS_KEY, or COB_ALLOW_PLAINTEXT=1 behind a proxy that speaks TLS.`
}

function toTlsServer(server: Server): TlsServer {
  if (server instanceof TlsServer) return server
  throw new Error('the server does not speak TLS')
}

/** With a certificate, by a name that it is for, if there is one: programs on this machine are to trust it too. */
function toUrl(
  host: string,
  address: ReturnType<Server['address']>,
  certificate: Certificate | undefined,
): string {
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  const name = certificate?.nameFor(host) ?? host
  return `${certificate ? 'https' : 'http'}://${name.includes(':') ? `[${name}]` : name}:${address.port}`
}

function readVersion(): string {
  // The file is ours and npm requires the field.
  const manifest = JSON.parse(readFileSync(path.join(import.meta.dirname, '../package.json'), 'utf8')) as {
    version: string
  }
  return manifest.version
}
