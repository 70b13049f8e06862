import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Controller, readKey, readNumber, readPids } from './cgroup.ts'

const label = 'cgroup v2'
/** The leaf that the server moves into; see {@link delegateControllers}. */
export const SERVER_LEAF = 'cob-server'

/** The controllers of cgroup v2 by name (Linux: Documentation/admin-guide/cgroup-v2.rst). */
export const CGROUP_V2_CONTROLLERS: Readonly<Record<string, Controller>> = {
  memory: {
    resource: 'memory',
    label,
    async limit(dir, { memoryBytes }) {
      const used = readNumber(dir, 'memory.current')
      const fileCache =
        readKey(dir, 'memory.stat', 'active_file') + readKey(dir, 'memory.stat', 'inactive_file')
      // Unlike v1, v2 takes a limit that is too low and kills at once.
      if (used - fileCache > memoryBytes) {
        throw new Error(
          `the sandbox already uses ${used} bytes of memory; a limit of ${memoryBytes} is too low`,
        )
      }
      const swapFile = join(dir, 'memory.swap.max')
      if (existsSync(swapFile)) await writeFile(swapFile, '0')
      await writeFile(join(dir, 'memory.oom.group'), '0')
      await writeFile(join(dir, 'memory.max'), String(memoryBytes))
    },
    holds: (dir, { memoryBytes }) => Math.abs(readNumber(dir, 'memory.max') - memoryBytes) < 65_536,
    usage: (dir) => ({
      memoryBytes: readNumber(dir, 'memory.current'),
      oomKills: readKey(dir, 'memory.events', 'oom_kill'),
    }),
  },
  pids: {
    resource: 'processes',
    label,
    limit: (dir, { processes }) => writeFile(join(dir, 'pids.max'), String(processes)),
    holds: (dir, { processes }) => readNumber(dir, 'pids.max') === processes,
    usage: (dir) => ({ processes: readNumber(dir, 'pids.current') }),
  },
  cpu: {
    resource: 'cpu',
    label,
    limit: (dir, { cpuWeight }) => writeFile(join(dir, 'cpu.weight'), String(cpuWeight)),
    holds: (dir, { cpuWeight }) => readNumber(dir, 'cpu.weight') === cpuWeight,
    usage: (dir) => ({ cpuMs: readKey(dir, 'cpu.stat', 'usage_usec') / 1000 }),
  },
}

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
  const enabled = (dir: string): string[] =>
    readFileSync(join(dir, 'cgroup.subtree_control'), 'utf8').split(/\s+/)
  // The root of all cgroups may hold processes; it is the one without cgroup.type.
  const isRoot = !existsSync(join(ownDir, 'cgroup.type'))
  if (!isRoot && names.some((name) => !enabled(ownDir).includes(name))) {
    const leaf = join(ownDir, SERVER_LEAF)
    await mkdir(leaf, { recursive: true })
    for (const pid of readPids(ownDir)) {
      await writeFile(join(leaf, 'cgroup.procs'), String(pid)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ESRCH') throw error
      })
    }
  }
  await mkdir(base, { recursive: true })
  for (const dir of [ownDir, base]) {
    for (const name of names) {
      // One by one: a controller that cannot be had must not take the others with it.
      if (!enabled(dir).includes(name)) {
        await writeFile(join(dir, 'cgroup.subtree_control'), `+${name}`).catch(() => {})
      }
    }
  }
  return names.filter((name) => enabled(base).includes(name))
}
