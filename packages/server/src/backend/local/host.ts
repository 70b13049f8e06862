import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, realpath, rmdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { Isolation } from '@cob/protocol'
import type { Logger } from '../../observe/logger.ts'
import type { SandboxLimits } from '../backend.ts'
import { type Check, type OnCheck, toError } from '../check.ts'
import type { ProcessLimits, StorageLimits } from './bubblewrap-arguments.ts'
import type { CgroupBase, Controller } from './cgroup.ts'
import { type CgroupProbe, findOwnCgroups, probeCgroups } from './cgroup-probe.ts'
import { parseDescription } from './description.ts'
import { findInheritableDescriptors } from './descriptors.ts'
import { checkEgress } from './egress.ts'
import { createExitWatch } from './exit-watch.ts'
import {
  checkBubblewrap,
  checkCgroups,
  checkSeccomp,
  checkTotals,
  checkUids,
  findBubblewrap,
  SECCOMP_FILTER,
} from './host-checks.ts'
import type { Layer } from './layers.ts'
import { sweepLeftovers } from './leftovers.ts'
import type { SandboxHost } from './local-sandbox.ts'
import { createLockGuard } from './lock-guard.ts'
import { createRootLayout } from './root-files.ts'
import { openSocketDirectory } from './socket-directory.ts'
import { createTerminalLimit } from './terminal-limit.ts'
import { createUids } from './uids.ts'

const MIB = 1024 * 1024
const STORAGE: StorageLimits = { homeBytes: 512 * MIB, tmpBytes: 256 * MIB, shmBytes: 256 * MIB }
const PROCESS_LIMITS: ProcessLimits = { openFilesSoft: 1024, openFilesHard: 4096, fileBytes: 1024 * MIB }
type Totals = Pick<SandboxLimits, 'memoryBytes' | 'processes'>
const UNASSIGNED_LIMITS: SandboxLimits = { memoryBytes: 256 * MIB, processes: 128, cpuWeight: 100 }

export interface HostOptions {
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
  /** Descriptions of sandboxes that an earlier server left and that are to be adopted; what else it left is removed. */
  readonly kept?: readonly unknown[]
  /** Hold between `prepare` and `assign`. */
  readonly unassignedLimits?: SandboxLimits
  readonly storage?: StorageLimits
  readonly processLimits?: ProcessLimits
  /** Memory of all sandboxes together. Default: 80 % of what this machine, or this process, may have. */
  readonly totalMemoryBytes?: number
  /** Start only where sandboxes can have network access; those that have none need no more than always. */
  readonly egress?: boolean
  /** Called with every finding about the host, as it is made. */
  readonly onCheck?: OnCheck
  /** For tests: layers to leave out, to see what gets out then. */
  readonly without?: readonly Layer[]
  readonly log: Logger
}

/** This machine, made ready for sandboxes. */
export interface Host extends SandboxHost {
  /** Removes what was made for it, once no sandbox is left. */
  close(): Promise<void>
}

/**
 * Finds out what this machine can enforce, removes what an earlier server with the same `dataDir` left, and makes what
 * sandboxes are made of. Rejects, saying what to do, when bubblewrap or a tool that is asked for is missing, or when a limit cannot be
 * enforced and `allowUnenforced` is not set.
 */
export async function openHost(options: HostOptions): Promise<Host> {
  const { log, onCheck = () => {} } = options
  const without = new Set(options.without)
  const tell = (check: Check): Check => {
    onCheck(check)
    return check
  }
  const bwrapPath = findBubblewrap(options.bwrapPath)
  const bubblewrap = tell(checkBubblewrap(bwrapPath))
  if (!bubblewrap.ok) throw toError('No sandbox can be made on this host.', [bubblewrap])

  await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
  const dataDir = await realpath(options.dataDir)
  const name = `cob-${createHash('sha256').update(dataDir).digest('hex').slice(0, 12)}`
  const own = findOwnCgroups()
  const baseDirs = own.map(({ dir }) => join(dir, name))
  const kept = (options.kept ?? []).map(parseDescription).filter((each) => each !== undefined)
  const keep = new Set(kept.map(({ id }) => id))
  const swept = await sweepLeftovers({ baseDirs, name, recordFile: join(dataDir, 'cgroups'), keep })
  if (swept.length > 0) log.warn({ sandboxes: swept }, 'removed sandboxes that an earlier server left')

  const hasOwnUids = process.getuid?.() === 0 && !without.has('own-uid')
  const uids = { base: options.uidBase ?? 200_000, count: options.uidCount ?? 10_000 }
  tell(checkUids(hasOwnUids ? uids : undefined))
  const filter = tell(checkSeccomp())
  const hasFilter = filter.ok && !without.has('seccomp')
  const probe = await probeCgroups(own, name)
  const unenforced = [filter, ...checkCgroups(probe).map(tell)].filter(({ ok }) => !ok)
  if (unenforced.length > 0 && !options.allowUnenforced) {
    await removeBases(probe)
    const advice = 'To run without these limits, set COB_ALLOW_UNENFORCED_LIMITS=1.'
    throw toError('This host cannot enforce these limits on sandboxes:', unenforced, advice)
  }
  if (unenforced.length > 0)
    log.warn({ unenforced }, 'some limits of sandboxes are not enforced on this host')

  const totals = {
    memoryBytes: options.totalMemoryBytes ?? defaultTotalMemory(),
    processes: totalProcesses(),
  }
  limitTogether(probe, totals)
  tell(checkTotals(probe, totals))

  const egress = tell(checkEgress(options.egress === true))
  if (!egress.ok) throw toError('Kernels cannot have network access on this host:', [egress])

  const sockets = openSocketDirectory(join(dataDir, 'run'))
  await sockets.clear(keep)
  const locks = createLockGuard(name, log)
  const exits = createExitWatch(log)
  const ownUids = hasOwnUids ? createUids(uids.base, uids.count) : undefined
  for (const { uid } of kept) if (uid !== null) ownUids?.claim(uid)
  // Without a cgroup nobody could find it again.
  const dieWithParent = options.endWithServer === true || probe.bases.length === 0
  return {
    name,
    exits,
    bubblewrap: {
      bwrapPath,
      layout: await createRootLayout(join(dataDir, 'etc')),
      storage: options.storage ?? STORAGE,
      processLimits: options.processLimits ?? PROCESS_LIMITS,
      dieWithParent,
      seccompFilter: hasFilter ? SECCOMP_FILTER : undefined,
      without,
      inheritable: without.has('closed-descriptors') ? [] : findInheritableDescriptors(),
    },
    cgroups: probe.bases
      .map((base) => leaveOut(base, without))
      .filter(({ controllers }) => controllers.length > 0),
    sockets,
    uids: ownUids,
    // Only root may enter the namespace of another user.
    limitTerminals: hasOwnUids && !without.has('resource-limits') ? createTerminalLimit(log) : undefined,
    unassignedLimits: options.unassignedLimits ?? UNASSIGNED_LIMITS,
    isolation: toIsolation(probe, { hasOwnUids, hasFilter: filter.ok }),
    async close() {
      locks.close()
      exits.close()
      sockets.close()
      await removeBases(probe)
    },
  }
}

/** Whatever each sandbox may have, all of them leave the machine something: the limits of the groups above theirs. */
function limitTogether({ bases }: CgroupProbe, totals: Totals): void {
  for (const { dir, controllers } of bases) {
    for (const controller of controllers) controller.limit(dir, { ...totals, cpuWeight: 100 })
  }
}

function defaultTotalMemory(): number {
  return Math.floor(Math.min(totalmem(), process.constrainedMemory() || totalmem()) * 0.8)
}

/** Half of what the kernel has room for. */
function totalProcesses(): number {
  const most = ['pid_max', 'threads-max'].map((name) =>
    Number(readFileSync(`/proc/sys/kernel/${name}`, 'utf8')),
  )
  return Math.floor(Math.min(...most) / 2)
}

async function removeBases({ bases }: CgroupProbe): Promise<void> {
  for (const { dir } of bases) await rmdir(dir).catch(() => {})
}

function toIsolation(
  { enforcement, problems }: CgroupProbe,
  { hasOwnUids, hasFilter }: { readonly hasOwnUids: boolean; readonly hasFilter: boolean },
): Omit<Isolation, 'network'> {
  return {
    backend: 'local',
    user: hasOwnUids ? 'own-uid' : 'server-uid',
    systemCalls: hasFilter ? 'allow-list' : 'all',
    memory: enforcement.memory,
    processes: enforcement.processes,
    cpu: enforcement.cpu,
    unenforced: [...problems.map(({ resource }) => resource), ...(hasFilter ? [] : ['system calls'])],
  }
}

/** Without the controllers whose limits are left out. */
function leaveOut(base: CgroupBase, without: ReadonlySet<Layer>): CgroupBase {
  const isIn = ({ resource }: Controller): boolean => !resource || !without.has(`${resource}-limit`)
  return { ...base, controllers: base.controllers.filter(isIn) }
}
