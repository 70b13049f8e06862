import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { every } from '../../observe/every.ts'
import type { Logger } from '../../observe/logger.ts'
import { kill } from './processes.ts'

const EVERY_MS = 1000
/** Locks of one sandbox; databases hold a handful. */
const MAX_LOCKS = 20_000
/** Of the list, which is as long as there are locks: more than {@link MAX_LOCKS} lines of the shortest kind. */
const READ_BYTES = 2 * 1024 * 1024

/**
 * Kills processes of sandboxes that hold locks on files without end. Each lock is 200 bytes of the kernel's memory that count
 * towards no cgroup, and the kernel has no limit for them (CVE-2022-0480). `name` is the directory of this server's cgroups.
 */
export function createLockGuard(name: string, log: Logger): { close(): void } {
  const buffer = Buffer.alloc(READ_BYTES)
  const look = (): void => {
    const holders = readHolders(buffer)
    if (holders.length <= MAX_LOCKS) return
    const locks = new Map<number, number>()
    for (const pid of holders) locks.set(pid, (locks.get(pid) ?? 0) + 1)
    for (const [sandbox, pids] of Map.groupBy(locks.keys(), (pid) => findSandbox(pid, name))) {
      const held = pids.reduce((sum, pid) => sum + (locks.get(pid) ?? 0), 0)
      if (sandbox === undefined || held <= MAX_LOCKS) continue
      log.warn({ sandbox, locks: held }, 'killed processes that hold too many locks on files')
      for (const pid of pids) kill(pid)
    }
  }
  return every({ ms: EVERY_MS, what: 'Looking at locks on files', logger: log }, look)
}

/** The process of each lock in the first part of `/proc/locks` (proc_locks(5)). */
function readHolders(buffer: Buffer): number[] {
  const fd = openSync('/proc/locks', 'r')
  try {
    let length = 0
    // The kernel hands out a page at a time.
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = readSync(fd, buffer, length, buffer.length - length, null)
    }
    const list = buffer.toString('latin1', 0, length)
    return Array.from(list.matchAll(/^\d+: (?:-> )?\w+ +\w+ +\w+ +(\d+) /gm), (match) => Number(match[1]))
  } finally {
    closeSync(fd)
  }
}

function findSandbox(pid: number, name: string): string | undefined {
  try {
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    return cgroups.split(`/${name}/`)[1]?.split('\n')[0]
  } catch {
    return undefined // It has gone.
  }
}
