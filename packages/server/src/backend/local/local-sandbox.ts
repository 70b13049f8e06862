import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Isolation, Network } from '@cob/protocol'
import type { Profile, Sandbox, SandboxLimits, Usage } from '../backend.ts'
import { type BubblewrapHost, type HeldBubblewrap, spawnBubblewrap } from './bubblewrap.ts'
import { type Cgroup, type CgroupBase, createCgroup, openCgroup, readPids } from './cgroup.ts'
import { findController, nameController } from './cgroup-controllers.ts'
import type { LocalDescription } from './description.ts'
import { currentEgressRules, openEgress } from './egress.ts'
import type { ExitWatch } from './exit-watch.ts'
import { type Identity, identify, isAlive, kill, killSame, readProcessTree } from './processes.ts'
import type { SocketDirectory } from './socket-directory.ts'
import type { LimitTerminals } from './terminal-limit.ts'
import type { Uids } from './uids.ts'

const DESTROY_MS = 5000
const MAX_CPU_WEIGHT = 10_000

/** What sandboxes of this host are made of. */
export interface SandboxHost {
  /** Of the directories that hold the cgroups of sandboxes. */
  readonly name: string
  readonly exits: ExitWatch
  readonly bubblewrap: BubblewrapHost
  readonly cgroups: readonly CgroupBase[]
  readonly sockets: SocketDirectory
  /** Absent when this process may not change its user id. */
  readonly uids: Uids | undefined
  /** Absent where it cannot be done. */
  readonly limitTerminals: LimitTerminals | undefined
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
  /** Once it is started; undefined where nobody could adopt it. */
  describe(): LocalDescription | undefined
  peakMemory(): number
  /** See `Backend.destroy`; concurrent calls share one promise, a failed one may be repeated. */
  destroy(): Promise<void>
}

/** What a sandbox is to be: a new one, or one that is there. */
export type LocalSandboxSource =
  | { readonly profile: Profile; readonly network: Network }
  | { readonly adopt: LocalDescription }

/** The outer bubblewrap process. */
interface Outer {
  readonly pid: number
  kill(): void
  hasEnded(): boolean
}

/** Starts making, or taking over, a sandbox. Never throws; see {@link LocalSandbox.started}. */
export function createLocalSandbox(host: SandboxHost, source: LocalSandboxSource): LocalSandbox {
  const adopted = 'adopt' in source ? source.adopt : undefined
  const network = 'adopt' in source ? source.adopt.network : source.network
  const isolation = adopted?.isolation ?? { ...host.isolation, network }
  const id = adopted?.id ?? randomBytes(12).toString('hex')
  const exit = Promise.withResolvers<void>()
  let ended = false
  let destroying: Promise<void> | undefined
  let uid: number | undefined
  let cgroup: Cgroup | undefined
  let outer: Outer | undefined
  let egress: { readonly pid: number; end(): Promise<void> } | undefined
  let inner: Identity | undefined
  /** Of a sandbox that another process could take over. */
  let identities: Pick<LocalDescription, 'outer' | 'inner' | 'egress'> | undefined
  let limits = adopted?.limits ?? host.unassignedLimits
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

  const hasExited = (): void => {
    ended = true
    exit.resolve()
  }

  const start = async (profile: Profile): Promise<void> => {
    uid = host.uids?.take()
    cgroup = await createCgroup(host.cgroups, id)
    await applyLimits(limits)
    assertWanted()
    const listening = await host.sockets.listen(id)
    let held: HeldBubblewrap
    try {
      assertWanted()
      const { processes } = limits
      held = await spawnBubblewrap(host.bubblewrap, {
        profile,
        network,
        listeningFd: listening.fd,
        uid,
        processes,
      })
    } finally {
      listening.close()
    }
    outer = { pid: held.pid, kill: held.kill, hasEnded: () => ended }
    void held.exited.then(hasExited)
    assertWanted()
    await cgroup.join(held.pid)
    assertWanted()
    const rules = network === 'egress' ? await connectNetwork(held, cgroup) : ''
    assertWanted()
    const { innerPid } = await held.release(rules)
    inner = identify(innerPid)
    const first = identify(held.pid)
    if (inner && first) identities = { outer: first, inner, egress: (egress && identify(egress.pid)) ?? null }
    assertWanted()
    if (inner) await host.limitTerminals?.(inner)
    assertWanted()
  }

  /** Takes over what is described, and what `destroy` needs first. */
  const takeOver = async (described: LocalDescription): Promise<void> => {
    uid = described.uid ?? undefined
    const own = described.cgroups.filter(
      ({ dir }) => basename(dir) === id && basename(dirname(dir)) === host.name,
    )
    cgroup = openCgroup(
      own.map(({ dir, controllers }) => ({
        dir,
        controllers: controllers.map(findController).filter((each) => each !== undefined),
      })),
    )
    const { outer: first, inner: agent, egress: carrier } = described
    outer = { pid: first.pid, kill: () => killSame(first), hasEnded: () => !isAlive(first) }
    inner = agent
    identities = { outer: first, inner: agent, egress: carrier }
    if (carrier)
      egress = {
        pid: carrier.pid,
        async end() {
          killSame(carrier)
        },
      }
    const groups = own.map(({ dir }) => ({ isThere: existsSync(dir), pids: readPids(dir) }))
    if (groups.length < described.cgroups.length || groups.some(({ isThere }) => !isThere)) {
      throw new Error(`sandbox ${id}: nothing is left of it`)
    }
    const living = [first, agent, ...(carrier ? [carrier] : [])].filter(isAlive)
    if (living.some(({ pid }) => groups.some(({ pids }) => !pids.includes(pid)))) {
      throw new Error(`sandbox ${id}: its processes are not in its cgroup`)
    }
    if (carrier && living.includes(first) && !living.includes(carrier)) {
      throw new Error(`sandbox ${id}: the process that carries its traffic has ended`)
    }
    if (!living.includes(first)) hasExited()
    else void host.exits.watch(first).then(hasExited)
  }

  /** Connects the network namespace that the process waits in; the rules it is to have. */
  const connectNetwork = async (held: HeldBubblewrap, { join }: Cgroup): Promise<string> => {
    const died = held.exited.then(() => {
      throw new Error('the network namespace could not be made')
    })
    await Promise.race([held.hasNetwork, died])
    egress = await openEgress({ pid: held.pid, join, endWithServer: host.bubblewrap.dieWithParent })
    return currentEgressRules()
  }

  const readFigures = (): Partial<Usage> => {
    try {
      return cgroup?.usage() ?? {}
    } catch (error) {
      // Somebody has taken its processes out, and removed it. What else goes wrong, for want of descriptors for instance, may go by.
      if (cgroup?.isThere() !== false) throw error
      return { isUnlimited: true }
    }
  }

  const usage = (): Usage => {
    const figures = readFigures()
    const { memoryBytes, cpuMs, processes } = figures
    const isWhole = [memoryBytes, cpuMs, processes].every((figure) => figure !== undefined)
    const tree = isWhole || !inner || ended ? { processes: 0 } : readProcessTree(inner.pid)
    const counted = processes === undefined ? tree.processes : processes - (ended ? 0 : ownProcesses)
    lastUsage = { ...lastUsage, ...tree, ...figures, processes: Math.max(0, counted) }
    return lastUsage
  }

  const killAll = (): void => {
    if (inner) killSame(inner)
    const members = cgroup?.pids() ?? []
    // The outer process reaps the inner one, and goes by itself.
    const others = members.filter((pid) => pid !== outer?.pid && pid !== inner?.pid)
    if (!inner) for (const pid of others) kill(pid)
    if (!inner && others.length === 0 && !ended) outer?.kill()
  }

  const endProcesses = async (): Promise<void> => {
    const deadline = performance.now() + DESTROY_MS
    // Of the end of one that is no child nobody tells in time.
    for (let waitMs = adopted ? 4 : 50; ; waitMs = Math.min(waitMs * 2, 500)) {
      let cause: unknown
      try {
        killAll()
        await Promise.race([exit.promise, delay(waitMs)])
        if (outer?.hasEnded()) hasExited()
        const left = cgroup?.pids() ?? []
        if (ended && left.length === 0) return
        if (ended) for (const pid of left) kill(pid)
        cause = `left: ${left.join(' ') || outer?.pid}`
      } catch (error) {
        // For want of descriptors, for instance, which may go by.
        cause = error
        await delay(waitMs)
      }
      if (performance.now() > deadline) throw new Error(`sandbox ${id}: processes do not end`, { cause })
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

  const started = 'adopt' in source ? takeOver(source.adopt) : start(source.profile)
  started.catch(() => {})
  return {
    id,
    isolation,
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
    peakMemory: () => Math.max(usage().memoryBytes, cgroup?.peakBytes() ?? 0),
    freeMemory: () => limits.memoryBytes - usage().memoryBytes + (cgroup?.cachedBytes() ?? 0),
    describe() {
      if (ended || host.bubblewrap.dieWithParent || !identities || !cgroup || cgroup.parts.length === 0)
        return undefined
      return {
        id,
        uid: uid ?? null,
        network,
        isolation,
        ...identities,
        cgroups: cgroup.parts.map(({ dir, controllers }) => ({
          dir,
          controllers: controllers.map(nameController),
        })),
        limits,
      }
    },
    destroy() {
      destroying ??= destroy().catch((error: unknown) => {
        destroying = undefined
        throw error
      })
      return destroying
    },
  }
}
