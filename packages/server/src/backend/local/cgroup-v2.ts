import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Controller, readKey, readNumber, readPids, write } from './cgroup.ts'

const label = 'cgroup v2'
/** The leaf that the server moves into; see {@link delegateControllers}. */
export const SERVER_LEAF = 'cob-server'

/** The controllers of cgroup v2 by name (Linux: Documentation/admin-guide/cgroup-v2.rst). */
export const CGROUP_V2_CONTROLLERS: Readonly<Record<string, Controller>> = {
  memory: {
    resource: 'memory',
    label,
    limit(dir, { memoryBytes }) {
      const used = readNumber(dir, 'memory.current')
      const fileCache =
        readKey(dir, 'memory.stat', 'active_file') + readKey(dir, 'memory.stat', 'inactive_file')
      // Unlike v1, v2 takes a limit that is too low and kills at once.
      if (used - fileCache > memoryBytes) {
        throw new Error(
          `the sandbox already uses ${used} bytes of memory; a limit of ${memoryBytes} is too low`,
        )
      }
      if (existsSync(join(dir, 'memory.swap.max'))) write(dir, 'memory.swap.max', 0)
      write(dir, 'memory.oom.group', 0)
      write(dir, 'memory.max', memoryBytes)
    },
    holds: (dir, { memoryBytes }) => Math.abs(readNumber(dir, 'memory.max') - memoryBytes) < 65_536,
    usage: (dir) => ({
      memoryBytes: readNumber(dir, 'memory.current'),
      oomKills: readKey(dir, 'memory.events', 'oom_kill'),
    }),
    cachedBytes: (dir) =>
      readKey(dir, 'memory.stat', 'inactive_file') + readKey(dir, 'memory.stat', 'active_file'),
    // Since Linux 5.19.
    peakBytes: (dir) => (existsSync(join(dir, 'memory.peak')) ? readNumber(dir, 'memory.peak') : 0),
  },
  pids: {
    resource: 'processes',
    label,
    limit: (dir, { processes }) => write(dir, 'pids.max', processes),
    holds: (dir, { processes }) => readNumber(dir, 'pids.max') === processes,
    usage: (dir) => ({ processes: readNumber(dir, 'pids.current') }),
  },
  cpu: {
    resource: 'cpu',
    label,
    limit: (dir, { cpuWeight }) => write(dir, 'cpu.weight', cpuWeight),
    holds: (dir, { cpuWeight }) => readNumber(dir, 'cpu.weight') === cpuWeight,
    usage: (dir) => ({ cpuMs: readKey(dir, 'cpu.stat', 'usage_usec') / 1000 }),
  },
}

/** How often processes are moved before giving up: they may start others meanwhile. */
const MOVE_ROUNDS = 20
/** The most there is: the server answers however many sandboxes beside its leaf want the CPU. */
const SERVER_CPU_WEIGHT = 10_000

/**
 * Hands the named controllers down from the server's own cgroup to `base` and on to the groups below.
 * A cgroup that does this may hold no processes itself, so those in the server's own one, the server
 * among them, move into a leaf beside `base`. Returns the controllers that groups below `base` have.
 */
export async function delegateControllers(
  ownDir: string,
  base: string,
  names: readonly string[],
): Promise<string[]> {
  // The root of all cgroups may hold processes; it is the one without cgroup.type.
  const isRoot = !existsSync(join(ownDir, 'cgroup.type'))
  const leaf = join(ownDir, SERVER_LEAF)
  if (!isRoot && names.some((name) => !isHandedDown(ownDir, name))) await moveProcesses(ownDir, leaf)
  await mkdir(base, { recursive: true })
  await handDown(ownDir, names)
  await handDown(base, names)
  // Another server may have made the leaf, as another user.
  await writeFile(join(leaf, 'cpu.weight'), String(SERVER_CPU_WEIGHT), { flag: 'r+' }).catch(() => {})
  return names.filter((name) => isHandedDown(base, name))
}

/**
 * Hands the named controllers down to `dir` from the groups above it that have them, as far as permitted: root's
 * shell under systemd, for one, is in a scope without the cpu controller until somebody asks for it.
 */
export async function claimControllers(dir: string, names: readonly string[]): Promise<void> {
  const above: string[] = []
  for (let each = dirname(dir); existsSync(join(each, 'cgroup.controllers')); each = dirname(each)) {
    above.unshift(each)
  }
  for (const each of above) await handDown(each, names)
}

async function handDown(dir: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (isHandedDown(dir, name)) continue
    // One by one: a controller that cannot be had must not take the others with it.
    await writeFile(join(dir, 'cgroup.subtree_control'), `+${name}`).catch(() => {})
  }
}

function isHandedDown(dir: string, name: string): boolean {
  return readFileSync(join(dir, 'cgroup.subtree_control'), 'utf8').split(/\s+/).includes(name)
}

async function moveProcesses(from: string, leaf: string): Promise<void> {
  await mkdir(leaf, { recursive: true })
  for (let round = 0; round < MOVE_ROUNDS; round++) {
    const pids = readPids(from)
    if (pids.length === 0) return
    for (const pid of pids) {
      await writeFile(join(leaf, 'cgroup.procs'), String(pid)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ESRCH') throw error
      })
    }
  }
}
