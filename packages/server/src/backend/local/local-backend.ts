import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, realpath, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Isolation } from '@cob/protocol'
import type { Logger } from '../../observe/logger.ts'
import type { Backend, Profile, Sandbox, SandboxLimits } from '../backend.ts'
import type { ProcessLimits, StorageLimits } from './bubblewrap-arguments.ts'
import { type CgroupProbe, findOwnCgroups, probeCgroups } from './cgroup-probe.ts'
import { findInheritableDescriptors } from './descriptors.ts'
import { sweepLeftovers } from './leftovers.ts'
import { createLocalSandbox, type LocalSandbox, type SandboxHost } from './local-sandbox.ts'
import { createRootLayout } from './root-files.ts'
import { openSocketDirectory } from './socket-directory.ts'
import { createUids } from './uids.ts'

const MIB = 1024 * 1024
const START_TIMEOUT_MS = 30_000

export interface LocalBackendOptions {
  /** This server's own directory; no other live server may use it. */
  readonly dataDir: string
  /** Default: bubblewrap where distributions put it. */
  readonly bwrapPath?: string
  /** First of the host's user ids for sandboxes, when the server is root. Two servers on one host need ranges of their own. */
  readonly uidBase?: number
  /** Also the most sandboxes that can live at once as root. */
  readonly uidCount?: number
  /** Start although some limit cannot be enforced; it is then named in `isolation`. */
  readonly allowUnenforced?: boolean
  /** Sandboxes end with this process, also when it is killed: for a data directory that no later server will sweep. */
  readonly endWithServer?: boolean
  /** Hold between `prepare` and `assign`. */
  readonly unassignedLimits?: SandboxLimits
  readonly storage?: StorageLimits
  readonly processLimits?: ProcessLimits
  readonly log: Logger
}

/**
 * Makes sandboxes on this machine with bubblewrap and cgroups. Removes what an earlier server with the same
 * `dataDir` left, and tries everything it will need, ending with a whole sandbox.
 *
 * Rejects, saying what to do, when bubblewrap or a user namespace cannot be had, or when a limit cannot be
 * enforced and `allowUnenforced` is not set.
 */
export async function createLocalBackend(options: LocalBackendOptions): Promise<Backend> {
  const { log } = options
  const bwrapPath = findBubblewrap(options.bwrapPath)
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
  const dataDir = await realpath(options.dataDir)
  const name = `cob-${createHash('sha256').update(dataDir).digest('hex').slice(0, 12)}`

  const own = findOwnCgroups()
  const baseDirs = own.map(({ dir }) => join(dir, name))
  const swept = await sweepLeftovers({ baseDirs, name, recordFile: join(dataDir, 'cgroups') })
  if (swept.length > 0) log.warn({ sandboxes: swept }, 'removed sandboxes that an earlier server left')
  const probe = await probeCgroups(own, name)
  assertEnforced(probe, options)

  const sockets = openSocketDirectory(join(dataDir, 'run'))
  const live = new Map<string, LocalSandbox>()
  let closing: Promise<void> | undefined
  const closeHost = async (): Promise<void> => {
    sockets.close()
    for (const { dir } of probe.bases) await rmdir(dir).catch(() => {})
  }

  try {
    await sockets.clear()
    const isRoot = process.getuid?.() === 0
    const host: SandboxHost = {
      bubblewrap: {
        bwrapPath,
        layout: await createRootLayout(join(dataDir, 'etc')),
        storage: options.storage ?? { homeBytes: 512 * MIB, tmpBytes: 256 * MIB, shmBytes: 256 * MIB },
        processLimits: options.processLimits ?? {
          openFilesSoft: 1024,
          openFilesHard: 4096,
          fileBytes: 1024 * MIB,
        },
        // Without a cgroup nobody could find it again.
        dieWithParent: options.endWithServer === true || probe.bases.length === 0,
        inheritable: findInheritableDescriptors(),
      },
      cgroups: probe.bases,
      sockets,
      uids: isRoot ? createUids(options.uidBase ?? 200_000, options.uidCount ?? 10_000) : undefined,
      unassignedLimits: options.unassignedLimits ?? {
        memoryBytes: 256 * MIB,
        processes: 128,
        cpuWeight: 100,
      },
      isolation: toIsolation(probe, isRoot),
    }

    const find = (sandbox: Sandbox): LocalSandbox => {
      const found = live.get(sandbox.id)
      if (!found) throw new Error(`sandbox ${sandbox.id} is not, or no longer, one of this backend's`)
      return found
    }
    const destroy = async (sandbox: LocalSandbox): Promise<void> => {
      try {
        await sandbox.destroy()
        live.delete(sandbox.id)
      } catch (error) {
        log.error({ sandbox: sandbox.id, err: error }, 'a sandbox could not be destroyed completely')
        throw error
      }
    }
    const prepare = async (profile: Profile): Promise<LocalSandbox> => {
      if (closing) throw new Error('the local backend is closed')
      const sandbox = createLocalSandbox(host, profile)
      live.set(sandbox.id, sandbox)
      const timer = setTimeout(() => void destroy(sandbox).catch(() => {}), START_TIMEOUT_MS)
      try {
        await sandbox.started
        return sandbox
      } catch (error) {
        await destroy(sandbox)
        throw error
      } finally {
        clearTimeout(timer)
      }
    }

    await trySandbox(prepare, destroy)
    return {
      name: 'local',
      prepare,
      assign: async (sandbox, limits) => find(sandbox).limit(limits),
      connect: async (sandbox) => find(sandbox).connect(),
      usage: async (sandbox) => find(sandbox).usage(),
      async destroy(sandbox) {
        const found = live.get(sandbox.id)
        if (found) await destroy(found)
      },
      close() {
        closing ??= (async () => {
          const results = await Promise.allSettled([...live.values()].map(destroy))
          await closeHost()
          const failed = results.filter((result) => result.status === 'rejected')
          if (failed.length > 0) {
            throw new AggregateError(
              failed.map(({ reason }) => reason),
              `${failed.length} sandboxes could not be destroyed`,
            )
          }
        })()
        return closing
      },
    }
  } catch (error) {
    await closeHost()
    throw error
  }
}

function findBubblewrap(wanted: string | undefined): string {
  const places = wanted === undefined ? ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap'] : [wanted]
  const found = places.find((path) => existsSync(path))
  if (!found) {
    throw new Error(
      `bubblewrap is not at ${places.join(' or ')}. Install it: apt-get install bubblewrap, dnf install bubblewrap, or apk add bubblewrap.`,
    )
  }
  return found
}

function assertEnforced({ problems }: CgroupProbe, { allowUnenforced, log }: LocalBackendOptions): void {
  if (problems.length === 0) return
  const list = problems.map(({ resource, reason }) => `  ${resource}: ${reason}`).join('\n')
  if (allowUnenforced) {
    log.warn({ problems }, 'some limits of sandboxes are not enforced on this host')
    return
  }
  throw new Error(
    `This host cannot enforce these limits on sandboxes:\n${list}\n` +
      'Run the server as root, or as a systemd service with Delegate=yes, or in a container with a writable cgroup ' +
      'file system. To run without these limits, set COB_ALLOW_UNENFORCED_LIMITS=1.',
  )
}

function toIsolation({ enforcement, problems }: CgroupProbe, isRoot: boolean): Isolation {
  return {
    backend: 'local',
    user: isRoot ? 'own-uid' : 'server-uid',
    network: 'none',
    memory: enforcement.memory,
    processes: enforcement.processes,
    cpu: enforcement.cpu,
    unenforced: problems.map(({ resource }) => resource),
  }
}

/** Makes and destroys one sandbox, as nothing else tells whether this host lets us. */
async function trySandbox(
  prepare: (profile: Profile) => Promise<LocalSandbox>,
  destroy: (sandbox: LocalSandbox) => Promise<void>,
): Promise<void> {
  try {
    await destroy(await prepare({ name: 'probe', argv: ['/bin/sleep', '60'], files: [] }))
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    throw new Error(`No sandbox can be made on this host. ${said}\n${toAdvice(said)}`, { cause: error })
  }
}

function toAdvice(said: string): string {
  const restricted = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns'
  if (existsSync(restricted) && readFileSync(restricted, 'utf8').trim() === '1') {
    return 'AppArmor may forbid it, as on Ubuntu 24.04 and later: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give bwrap an AppArmor profile with "userns,".'
  }
  if (/namespace|clone|permitted|uid map/i.test(said)) {
    return 'User namespaces must be allowed: sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone must not be 0; in a container, its seccomp profile must allow unshare and mount.'
  }
  return 'bubblewrap 0.8 or later is needed (bwrap --version).'
}
