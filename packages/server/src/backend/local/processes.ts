import { readdirSync, readFileSync } from 'node:fs'

/** Ticks per second of the times in `/proc/<pid>/stat`: 100 on every Linux architecture (USER_HZ). */
const TICKS_PER_S = 100
const PAGE_BYTES = 4096
/** Everything else, as want of descriptors, says nothing of a process. */
const GONE = ['ENOENT', 'ESRCH']

/** A process by its id, which another one may have by now, and its start, which no other of that id has. */
export interface Identity {
  readonly pid: number
  readonly startTime: number
}

/** When a process started, in clock ticks since boot; with its id, its identity. Undefined when it is gone, or waits to be reaped. */
function readStartTime(pid: number): number | undefined {
  const stat = readStat(pid)
  return stat && !stat.isZombie ? stat.fields[19] : undefined
}

/** Undefined when it is gone. */
export function identify(pid: number): Identity | undefined {
  const startTime = readStartTime(pid)
  return startTime === undefined ? undefined : { pid, startTime }
}

export function isAlive({ pid, startTime }: Identity): boolean {
  return readStartTime(pid) === startTime
}

/** Kills a process unless its id belongs to another one by now. */
export function killSame(identity: Identity): void {
  if (isAlive(identity)) kill(identity.pid)
}

/** SIGKILL; a process that is gone is no error. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * Memory, CPU time and number of a process and its descendants, for hosts without cgroups. Less exact than a
 * cgroup: shared pages count once per process, and what short-lived processes used may be missed.
 */
export function readProcessTree(root: number): { memoryBytes: number; cpuMs: number; processes: number } {
  const sum = { memoryBytes: 0, cpuMs: 0, processes: 0 }
  const queue = [root]
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    const stat = readStat(pid)?.fields
    if (!stat) continue
    const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = stat.slice(11, 15)
    sum.cpuMs += ((user + system + childrenUser + childrenSystem) * 1000) / TICKS_PER_S
    sum.memoryBytes += (stat[21] ?? 0) * PAGE_BYTES
    sum.processes += 1
    queue.push(...readChildren(pid))
  }
  return sum
}

function readChildren(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8'))
    return lists.join(' ').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Fields of `/proc/<pid>/stat` from the third on (proc_pid_stat(5)); the second may itself hold spaces. */
function readStat(pid: number): { fields: number[]; isZombie: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { fields: fields.map(Number), isZombie: fields[0] === 'Z' || fields[0] === 'X' }
  } catch (error) {
    if (GONE.includes(String((error as NodeJS.ErrnoException).code))) return undefined
    throw error
  }
}
