import { readFileSync } from 'node:fs'
import path from 'node:path'
import { getHeapStatistics } from 'node:v8'
import type { Network } from '@cob/protocol'
import type { Check, OnCheck } from './backend/check.ts'
import type { Layer } from './backend/local/layers.ts'
import { createLocalBackend } from './backend/local/local-backend.ts'
import { type Config, ConfigError, toWarmName } from './config.ts'
import type { Langs } from './langs/lang.ts'
import { createLangs } from './langs/registry.ts'
import type { Logger } from './observe/logger.ts'
import { createObserver, type Observer } from './observe/observer.ts'
import { selfTest } from './self-test/self-test.ts'
import type { LimitRanges } from './sessions/limits.ts'
import { createSessions } from './sessions/manager.ts'
import type { Quota } from './sessions/quota.ts'
import type { Sessions } from './sessions/sessions.ts'
import type { SessionStore } from './store/session-store.ts'
import type { UsageStore } from './store/usage.ts'

const KB = 1024
/** Two bytes a character at worst, and three times as much for work on them and for the rest of the server. */
const HEAP_PER_HELD_CHARACTER = 8
/** A tenth of a session's: what is made ahead of demand waits for what somebody waits for. */
const UNASSIGNED_CPU_WEIGHT = 10
/** Whatever sessions of users may have. */
const SELF_TEST_LIMITS: LimitRanges = {
  memoryKb: { default: 131_072, max: 131_072 },
  queryTimeoutMs: { default: 30_000, max: 30_000 },
  idleTimeoutMs: { default: 60_000, max: 60_000 },
  cpuCreditMs: { default: 0, max: 0 },
}
const NO_QUOTA = {
  maxKernels: Number.POSITIVE_INFINITY,
  maxMemoryKb: null,
  maxCpuMsPerDay: null,
  langs: null,
}
const NO_LEDGER: Pick<UsageStore, 'addUsage' | 'sumCpuMs'> = { addUsage: () => {}, sumCpuMs: () => 0 }
const REPOSITORY = path.resolve(import.meta.dirname, '../../..')

/** Sessions and all they need, without a store or a front. */
export interface Core {
  readonly sessions: Sessions
  readonly langs: Langs
  selfTest(): Promise<Check[]>
  /** Ends all sessions; with `leave` they stay for another server, once nobody waits for an answer here. */
  endSessions(options: { readonly leave: boolean }): Promise<void>
  /** After `endSessions`. */
  close(): Promise<void>
}

export interface CoreOptions {
  /** No later server will clear away what is left of this one. */
  readonly isTemporary?: boolean
  readonly without?: readonly Layer[]
  readonly agentDir?: string
  readonly dataDir: string
  /** Keeps sessions for another server, and may have some of an earlier one: they go on. */
  readonly store?: SessionStore
  readonly logger: Logger
  /** By access key; see `SessionsOptions`. Absent where nobody has a key. */
  readonly quotaOf?: (owner: string) => Quota
  readonly ledger?: Pick<UsageStore, 'addUsage' | 'sumCpuMs'>
  readonly onDrained?: () => void
  readonly onCheck?: OnCheck
  /** Told of the sessions of users. */
  readonly observer?: Observer
}

export async function openCore(config: Config, options: CoreOptions): Promise<Core> {
  const { dataDir, logger, store } = options
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const earlier = store?.liveSessions().filter(({ session }) => session.bootId === bootId) ?? []
  const storage = {
    homeBytes: config.workSizeKb * KB,
    tmpBytes: config.tmpSizeKb * KB,
    shmBytes: config.tmpSizeKb * KB,
  }
  const [backend, langs] = await Promise.all([
    createLocalBackend({
      dataDir,
      uidBase: config.uidBase,
      uidCount: config.uidCount,
      allowUnenforced: config.allowUnenforcedLimits,
      endWithServer: options.isTemporary === true,
      kept: earlier.map(({ session }) => session.sandbox),
      storage,
      ...(config.totalMemoryKb > 0 ? { totalMemoryBytes: config.totalMemoryKb * KB } : {}),
      egress: config.network === 'egress',
      // For code of ours alone: nobody's runs before a session's own are applied.
      unassignedLimits: {
        memoryBytes: config.defaultMemoryKb * KB,
        processes: config.maxProcesses,
        cpuWeight: UNASSIGNED_CPU_WEIGHT,
      },
      log: logger,
      ...(options.without ? { without: options.without } : {}),
      ...(options.onCheck ? { onCheck: options.onCheck } : {}),
    }),
    createLangs({
      langsDir: path.join(REPOSITORY, 'langs'),
      agentDir: options.agentDir ?? path.join(REPOSITORY, 'agent'),
      bundleDir: path.join(dataDir, 'bundles'),
    }),
  ])
  const common = {
    bootId,
    backend,
    langs,
    warm: {},
    maxWarm: 0,
    maxKernels: config.maxKernels,
    maxProcesses: config.maxProcesses,
    maxQueued: config.maxQueued,
    maxUploadBytes: config.maxUploadBytes,
    maxHeldCharacters: Math.floor(getHeapStatistics().heap_size_limit / HEAP_PER_HELD_CHARACTER),
    logger,
  }
  const sessions = createSessions({
    ...common,
    ...(store ? { store } : {}),
    limits: {
      memoryKb: { default: config.defaultMemoryKb, max: config.maxMemoryKb },
      queryTimeoutMs: { default: config.defaultQueryTimeoutMs, max: config.maxQueryTimeoutMs },
      idleTimeoutMs: { default: config.defaultIdleTimeoutMs, max: config.maxIdleTimeoutMs },
      cpuCreditMs: { default: config.defaultCpuCreditMs, max: config.maxCpuCreditMs },
    },
    quotaOf: options.quotaOf ?? (() => ({ ...NO_QUOTA, network: config.network })),
    ledger: options.ledger ?? NO_LEDGER,
    ...(options.onDrained ? { onDrained: options.onDrained } : {}),
    observer: options.observer ?? createObserver(),
    warm: findWarm(config, langs),
    // Who lives for one run has no session to come.
    maxWarm: options.isTemporary ? 0 : config.maxWarm,
  })
  await sessions.adopt()
  const testWith = async (network: Network): Promise<Check[]> => {
    const own = createSessions({
      ...common,
      limits: SELF_TEST_LIMITS,
      quotaOf: () => ({ ...NO_QUOTA, network }),
      ledger: NO_LEDGER,
      // Nobody asks what becomes of its session.
      logger: logger.level === 'info' ? logger.child({}, { level: 'warn' }) : logger,
      observer: createObserver(),
    })
    try {
      return await selfTest({
        sessions: own,
        dataDir,
        processes: config.maxProcesses,
        storage: {
          '/home/work': storage.homeBytes,
          '/tmp': storage.tmpBytes,
          '/dev/shm': storage.shmBytes,
        },
      })
    } finally {
      await own.close()
    }
  }
  return {
    sessions,
    langs,
    async selfTest() {
      const found = await testWith('none')
      if (config.network === 'none') return found
      const withEgress = await testWith('egress')
      return [...found, ...withEgress.map((check) => ({ ...check, name: `${check.name}, egress` }))]
    },
    endSessions: (how) => sessions.close(how),
    close: () => backend.close(sessions.release()),
  }
}

/** How many to keep warm by kernel type. Throws `ConfigError` for one that there is not. */
function findWarm({ warm }: Config, langs: Langs): Record<string, number> {
  const byWarmName = new Map(langs.names().map((lang) => [toWarmName(lang), lang]))
  return Object.fromEntries(
    Object.entries(warm).map(([name, count]) => {
      const lang = byWarmName.get(name)
      if (lang === undefined)
        throw new ConfigError(
          `COB_WARM_${name}: there is no such kernel type, but ${langs.names().join(', ')}.`,
        )
      return [lang, count]
    }),
  )
}
