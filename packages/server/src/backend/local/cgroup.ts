import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { SandboxLimits, Usage } from '../backend.ts'

/** What is limited, in the words of {@link SandboxLimits}. */
export const RESOURCES = ['memory', 'processes', 'cpu'] as const
export type Resource = (typeof RESOURCES)[number]
const LIMIT_OF = { memory: 'memoryBytes', processes: 'processes', cpu: 'cpuWeight' } as const

/** How one controller is limited and read, in one cgroup version. `dir` is the group's directory. */
export interface Controller {
  /** Undefined for a controller that only counts. */
  readonly resource?: Resource
  /** Where limits that hold are named, e.g. "cgroup v1". */
  readonly label: string
  limit(dir: string, limits: SandboxLimits): void
  /** Reads back what `limit` wrote; false when the kernel took another value. */
  holds(dir: string, limits: SandboxLimits): boolean
  usage(dir: string): Partial<Usage>
  /** Bytes of the memory in use that only cache files: the kernel takes them back when they are needed. */
  cachedBytes?(dir: string): number
  /** Most bytes of memory that were in use at once; 0 where the kernel does not tell. */
  peakBytes?(dir: string): number
}

/** A directory in one cgroup hierarchy below which this server keeps one group per sandbox. */
export interface CgroupBase {
  readonly dir: string
  readonly controllers: readonly Controller[]
}

/** The cgroups of one sandbox: one directory in every hierarchy that has a controller for us. */
export interface Cgroup {
  readonly parts: readonly CgroupBase[]
  /** Moves a process in; what it starts afterwards is in as well. */
  join(pid: number): Promise<void>
  /** Applies limits; those that stand are not written again. Rejects when the processes already use more memory than `limits` allow. */
  limit(limits: SandboxLimits): Promise<void>
  /** False once a directory of it was removed. */
  isThere(): boolean
  /** Figures of the controllers that exist; kept by the kernel until {@link Cgroup.remove}. */
  usage(): Partial<Usage>
  /** See {@link Controller.cachedBytes}. */
  cachedBytes(): number
  /** See {@link Controller.peakBytes}. */
  peakBytes(): number
  /** Ids of all member processes, in the server's process namespace. */
  pids(): number[]
  /** Removes the directories. Rejects when processes are left. Idempotent. */
  remove(): Promise<void>
}

/** Creates the directories of one sandbox. Rejects with nothing left behind. */
export async function createCgroup(bases: readonly CgroupBase[], id: string): Promise<Cgroup> {
  const cgroup = openCgroup(bases.map((base) => ({ ...base, dir: join(base.dir, id) })))
  try {
    for (const { dir } of cgroup.parts) await mkdir(dir)
  } catch (error) {
    await cgroup.remove()
    throw error
  }
  return cgroup
}

/** The cgroups whose directories these are, whether they are there or not. */
export function openCgroup(parts: readonly CgroupBase[]): Cgroup {
  let standing: SandboxLimits | undefined
  return {
    parts,
    async join(pid) {
      await Promise.all(parts.map(({ dir }) => writeFile(join(dir, 'cgroup.procs'), String(pid))))
    },
    async limit(limits) {
      const stands = (resource: Resource | undefined): boolean =>
        resource !== undefined && standing?.[LIMIT_OF[resource]] === limits[LIMIT_OF[resource]]
      const missing = parts.flatMap(({ dir, controllers }) =>
        controllers.flatMap((each) => (stands(each.resource) ? [] : [{ dir, controller: each }])),
      )
      // After one that fails nobody knows which stand.
      standing = undefined
      for (const { dir, controller } of missing) controller.limit(dir, limits)
      standing = limits
    },
    isThere: () => parts.every(({ dir }) => existsSync(dir)),
    usage() {
      const figures = parts.flatMap(({ dir, controllers }) => controllers.map((each) => each.usage(dir)))
      return Object.assign({}, ...figures)
    },
    cachedBytes: () =>
      parts
        .flatMap(({ dir, controllers }) => controllers.map((each) => each.cachedBytes?.(dir) ?? 0))
        .reduce((sum, bytes) => sum + bytes, 0),
    peakBytes: () =>
      Math.max(
        0,
        ...parts.flatMap(({ dir, controllers }) => controllers.map((each) => each.peakBytes?.(dir) ?? 0)),
      ),
    pids: () => [...new Set(parts.flatMap(({ dir }) => readPids(dir)))],
    async remove() {
      for (const { dir } of parts) await removeGroup(dir)
    },
  }
}

/** Member processes of one group; empty when the group is gone. */
export function readPids(dir: string): number[] {
  try {
    // A process of a namespace this server cannot see reads as 0.
    return readNumbers(dir, 'cgroup.procs').filter((pid) => pid > 0)
  } catch {
    return []
  }
}

/** Of twice as long in all. The last processes are reaped by others, which on a busy machine get their turn late. */
const MAX_WAIT_MS = 4000

/** Removes one group that has no processes, and is patient with the kernel, which empties it a little later. */
export async function removeGroup(dir: string): Promise<void> {
  for (let waitMs = 1; ; waitMs *= 2) {
    try {
      return await rmdir(dir)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      if (code !== 'EBUSY' || waitMs > MAX_WAIT_MS) {
        throw new Error(
          `cgroup ${dir} cannot be removed (${code}); processes in it: ${readPids(dir).join(' ') || 'none'}`,
          {
            cause: error,
          },
        )
      }
      await delay(waitMs)
    }
  }
}

/** Writes at once: for the microseconds it takes, the turns of an asynchronous one would be most of the time. */
export function write(dir: string, file: string, value: string | number): void {
  writeFileSync(join(dir, file), String(value))
}

/** The whitespace-separated numbers of a cgroup file. "max" reads as Infinity. */
function readNumbers(dir: string, file: string): number[] {
  const words = readFileSync(join(dir, file), 'utf8').split(/\s+/)
  return words.filter((word) => word !== '').map((word) => (word === 'max' ? Infinity : Number(word)))
}

/** The single number of a cgroup file. */
export function readNumber(dir: string, file: string): number {
  return readNumbers(dir, file)[0] ?? Number.NaN
}

/** One number of a flat-keyed cgroup file (cgroups(7): "KEY VALUE" lines); 0 when the key is absent. */
export function readKey(dir: string, file: string, key: string): number {
  for (const line of readFileSync(join(dir, file), 'utf8').split('\n')) {
    const [name, value] = line.split(' ')
    if (name === key) return Number(value)
  }
  return 0
}
