import { readdirSync, readFileSync } from 'node:fs'

/** Ticks per second of the times in `/proc/<pid>/stat`: 100 on every Linux architecture (USER_HZ). */
const TICKS_PER_S = 100
const PAGE_BYTES = 4096

/** When a process started, in clock ticks since boot; with its id, its identity. Undefined when it is gone. */
export function readStartTime(pid: number): number | undefined {
  return readStat(pid)?.[19]
}

/** Kills a process unless its id belongs to another one by now. */
export function killSame(pid: number, startTime: number | undefined): void {
  if (startTime !== undefined && readStartTime(pid) === startTime) kill(pid)
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
    const stat = readStat(pid)
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
function readStat(pid: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
  } catch {
    return undefined
  }
}
