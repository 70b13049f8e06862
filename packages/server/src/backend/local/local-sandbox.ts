import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Isolation, Network } from '@cob/protocol'
import type { Profile, Sandbox, SandboxLimits, Usage } from '../backend.ts'
import { type BubblewrapHost, type HeldBubblewrap, spawnBubblewrap } from './bubblewrap.ts'
import { type Cgroup, type CgroupBase, createCgroup } from './cgroup.ts'
import { currentEgressRules, type Egress, openEgress } from './egress.ts'
import { kill, killSame, readProcessTree, readStartTime } from './processes.ts'
import type { SocketDirectory } from './socket-directory.ts'
import type { Uids } from './uids.ts'

const DESTROY_MS = 5000
const MAX_CPU_WEIGHT = 10_000

/** What sandboxes of this host are made of. */
export interface SandboxHost {
  readonly bubblewrap: BubblewrapHost
  readonly cgroups: readonly CgroupBase[]
  readonly sockets: SocketDirectory
  /** Absent when this process may not change its user id. */
  readonly uids: Uids | undefined
  /** Hold from the start until a session's own limits are known. */
  readonly unassignedLimits: SandboxLimits
  /** But for the network. */
  readonly isolation: Omit<Isolation, 'network'>
}

/** One sandbox, from its first resource to its last. */
export interface LocalSandbox extends Sandbox {
  /** Resolves when the agent is started; rejects when that failed, and then `destroy` must still be called. */
  readonly started: Promise<void>
  limit(limits: SandboxLimits): Promise<void>
  connect(): Promise<Socket>
  usage(): Usage
  freeMemory(): number
  /** See `Backend.destroy`; concurrent calls share one promise, a failed one may be repeated. */
  destroy(): Promise<void>
}

/** Starts making a sandbox. Never throws; see {@link LocalSandbox.started}. */
export function createLocalSandbox(host: SandboxHost, profile: Profile, network: Network): LocalSandbox {
  const id = randomBytes(12).toString('hex')
  const exit = Promise.withResolvers<void>()
  let ended = false
  let destroying: Promise<void> | undefined
  let uid: number | undefined
  let cgroup: Cgroup | undefined
  let outer: HeldBubblewrap | undefined
  let egress: Egress | undefined
  let inner: { readonly pid: number; readonly startTime: number | undefined } | undefined
  let limits = host.unassignedLimits
  let lastUsage: Usage = { memoryBytes: 0, cpuMs: 0, oomKills: 0, processes: 0 }

  const assertWanted = (): void => {
    if (destroying) throw new Error(`sandbox ${id} was destroyed while it started`)
  }
  // The outer bubblewrap process and the network's are in the group too, so that nothing of a sandbox is ever outside.
  const ownProcesses = network === 'egress' ? 2 : 1
  const applyLimits = async (wanted: SandboxLimits): Promise<void> => {
    await cgroup?.limit({ ...wanted, processes: wanted.processes + ownProcesses })
    limits = wanted
  }

  const start = async (): Promise<void> => {
    uid = host.uids?.take()
    cgroup = await createCgroup(host.cgroups, id)
    await applyLimits(limits)
    assertWanted()
    const listening = await host.sockets.listen(id)
    try {
      assertWanted()
      outer = await spawnBubblewrap(host.bubblewrap, { profile, network, listeningFd: listening.fd, uid })
    } finally {
      listening.close()
    }
    void outer.exited.then(() => {
      ended = true
      exit.resolve()
    })
    assertWanted()
    await cgroup.join(outer.pid)
    assertWanted()
    const rules = network === 'egress' ? await connectNetwork(outer, cgroup) : ''
    assertWanted()
    const { innerPid } = await outer.release(rules)
    inner = { pid: innerPid, startTime: readStartTime(innerPid) }
    assertWanted()
  }

  /** Connects the network namespace that the process waits in; the rules it is to have. */
  const connectNetwork = async (held: HeldBubblewrap, { join }: Cgroup): Promise<string> => {
    const died = held.exited.then(() => {
      throw new Error('the network namespace could not be made')
    })
    await Promise.race([held.hasNetwork, died])
    egress = await openEgress(held.pid, join)
    return currentEgressRules()
  }

  const usage = (): Usage => {
    const figures = cgroup?.usage() ?? {}
    const { memoryBytes, cpuMs, processes } = figures
    const isWhole = [memoryBytes, cpuMs, processes].every((figure) => figure !== undefined)
    const tree = isWhole || !inner || ended ? { processes: 0 } : readProcessTree(inner.pid)
    const counted = processes === undefined ? tree.processes : processes - (ended ? 0 : ownProcesses)
    lastUsage = { ...lastUsage, ...tree, ...figures, processes: Math.max(0, counted) }
    return lastUsage
  }

  const killAll = (): void => {
    if (inner) killSame(inner.pid, inner.startTime)
    const members = cgroup?.pids() ?? []
    // The outer process reaps the inner one, and goes by itself.
    const others = members.filter((pid) => pid !== outer?.pid && pid !== inner?.pid)
    if (!inner) for (const pid of others) kill(pid)
    if (!inner && others.length === 0 && !ended) outer?.kill()
  }

  const endProcesses = async (): Promise<void> => {
    const deadline = performance.now() + DESTROY_MS
    for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, 500)) {
      killAll()
      await Promise.race([exit.promise, delay(waitMs, undefined, { ref: false })])
      const left = cgroup?.pids() ?? []
      if (ended && left.length === 0) return
      if (ended) for (const pid of left) kill(pid)
      if (performance.now() > deadline) {
        throw new Error(`sandbox ${id}: processes do not end: ${left.join(' ') || outer?.pid}`)
      }
    }
  }

  const destroy = async (): Promise<void> => {
    // Dying takes CPU time too: a starved fork bomb would take long.
    await applyLimits({ ...limits, cpuWeight: MAX_CPU_WEIGHT }).catch(() => {})
    if (outer) await endProcesses()
    await started.catch(() => {})
    if (outer) await endProcesses()
    await egress?.end()
    await host.sockets.unlink(id)
    await cgroup?.remove()
    // Last: an id is free only when nothing of its former user is left.
    if (uid !== undefined) host.uids?.give(uid)
    uid = undefined
    exit.resolve()
  }

  const started = start()
  started.catch(() => {})
  return {
    id,
    isolation: { ...host.isolation, network },
    exited: exit.promise,
    started,
    limit: applyLimits,
    connect: () =>
      host.sockets.connect(id).catch((error: unknown) => {
        throw new Error(`sandbox ${id}: its agent ${ended ? 'has ended' : 'does not listen'}`, {
          cause: error,
        })
      }),
    usage,
    freeMemory: () => limits.memoryBytes - usage().memoryBytes + (cgroup?.cachedBytes() ?? 0),
    destroy() {
      destroying ??= destroy().catch((error: unknown) => {
        destroying = undefined
        throw error
      })
      return destroying
    },
  }
}
