import path from 'node:path'
import type { Network } from '@cob/protocol'
import type { Check, OnCheck } from './backend/check.ts'
import type { Layer } from './backend/local/layers.ts'
import { createLocalBackend } from './backend/local/local-backend.ts'
import type { Config } from './config.ts'
import type { Langs } from './langs/lang.ts'
import { createLangs } from './langs/registry.ts'
import type { Logger } from './observe/logger.ts'
import { selfTest, selfTestNetwork } from './self-test/self-test.ts'
import { createSessions } from './sessions/manager.ts'
import type { Sessions } from './sessions/sessions.ts'

const KB = 1024
const SELF_TEST_MEMORY_KB = 65_536
const REPOSITORY = path.resolve(import.meta.dirname, '../../..')

/** Sessions and all they need, without a store or a front. */
export interface Core {
  readonly sessions: Sessions
  readonly langs: Langs
  selfTest(): Promise<Check[]>
  close(): Promise<void>
}

export interface CoreOptions {
  /** No later server will clear away what is left of this one. */
  readonly isTemporary?: boolean
  readonly without?: readonly Layer[]
  readonly agentDir?: string
  readonly dataDir: string
  readonly logger: Logger
  /** By access key. */
  readonly networkOf: (owner: string) => Network
  readonly onCheck?: OnCheck
}

export async function openCore(config: Config, options: CoreOptions): Promise<Core> {
  const { dataDir, logger } = options
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
      storage,
      ...(config.totalMemoryKb > 0 ? { totalMemoryBytes: config.totalMemoryKb * KB } : {}),
      egress: config.network === 'egress',
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
  const sessions = createSessions({
    backend,
    langs,
    limits: {
      memoryKb: { default: config.defaultMemoryKb, max: config.maxMemoryKb },
      queryTimeoutMs: { default: config.defaultQueryTimeoutMs, max: config.maxQueryTimeoutMs },
      idleTimeoutMs: { default: config.defaultIdleTimeoutMs, max: config.maxIdleTimeoutMs },
      cpuCreditMs: { default: config.defaultCpuCreditMs, max: config.maxCpuCreditMs },
    },
    networkOf: (owner) => selfTestNetwork(owner) ?? options.networkOf(owner),
    maxKernels: config.maxKernels,
    maxKernelsPerKey: config.maxKernelsPerKey,
    maxProcesses: config.maxProcesses,
    maxQueued: config.maxQueued,
    logger,
  })
  return {
    sessions,
    langs,
    async selfTest() {
      const networks: Network[] = config.network === 'egress' ? ['none', 'egress'] : ['none']
      const findings: Check[] = []
      for (const network of networks) {
        const found = await selfTest({
          sessions,
          network,
          dataDir,
          memoryKb: Math.min(SELF_TEST_MEMORY_KB, config.defaultMemoryKb),
          processes: config.maxProcesses,
          storage: {
            '/home/work': storage.homeBytes,
            '/tmp': storage.tmpBytes,
            '/dev/shm': storage.shmBytes,
          },
        })
        findings.push(
          ...found.map((check) => (network === 'none' ? check : { ...check, name: `${check.name}, egress` })),
        )
      }
      return findings
    },
    async close() {
      await sessions.close()
      await backend.close()
    },
  }
}
