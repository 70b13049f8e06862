import { readdirSync, readFileSync } from 'node:fs'

const KB_PER_MIB = 1024

/** Proportional set size (proc_pid_smaps(5)) of a process and of all its descendants, MiB each. */
export function readTreePss(root: number): { readonly root: number; readonly descendants: number } {
  const children = new Map<number, number[]>()
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    const parent = Number(/^.*\) \S+ (\d+)/s.exec(read(`/proc/${pid}/stat`))?.[1])
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const sumBelow = (pid: number): number =>
    (children.get(pid) ?? []).reduce((sum, child) => sum + readPss(child) + sumBelow(child), 0)
  return { root: readPss(root), descendants: sumBelow(root) }
}

/** Of one process, MiB. */
function readRss(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / KB_PER_MIB
}

/** What the whole machine could still give, MiB; the kernel's own memory is in it. */
export function readAvailable(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(read('/proc/meminfo'))?.[1]) / KB_PER_MIB
}

/** The most by which a process grew while `act` ran, MiB. */
export async function growthOf(pid: number, act: () => Promise<unknown>): Promise<number> {
  const before = readRss(pid)
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, readRss(pid))
  }, 10)
  try {
    await act()
  } finally {
    clearInterval(timer)
  }
  return Math.max(most, readRss(pid)) - before
}

function readPss(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) / KB_PER_MIB
}

/** Empty for a process that has gone. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
