import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Controller, readKey, readNumber, write } from './cgroup.ts'

const label = 'cgroup v1'
/** Part of the memory limit that buffers of TCP and UDP sockets may have besides. */
const SOCKET_SHARE = 0.25

/** `cpu.shares` for a weight as in cgroup v2, where 100 is a group's usual share as 1024 is here. */
function toCpuShares(weight: number): number {
  return Math.min(262_144, Math.max(2, Math.round((weight * 1024) / 100)))
}

/** The controllers of cgroup v1 by name (Linux: Documentation/admin-guide/cgroup-v1). */
export const CGROUP_V1_CONTROLLERS: Readonly<Record<string, Controller>> = {
  memory: {
    resource: 'memory',
    label,
    limit(dir, { memoryBytes }) {
      const put = (name: string, value: number): void => write(dir, `memory.${name}`, value)
      const hasSwapLimit = existsSync(join(dir, 'memory.memsw.limit_in_bytes'))
      // Keeps the limit a limit where the kernel has none for swap.
      put('swappiness', 0)
      // The kernel insists on limit <= limit with swap at every moment.
      const raising = hasSwapLimit && memoryBytes > readNumber(dir, 'memory.memsw.limit_in_bytes')
      if (raising) put('memsw.limit_in_bytes', memoryBytes)
      try {
        put('limit_in_bytes', memoryBytes)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
        const used = readNumber(dir, 'memory.usage_in_bytes')
        throw new Error(
          `the sandbox already uses ${used} bytes of memory; a limit of ${memoryBytes} is too low`,
          {
            cause: error,
          },
        )
      }
      if (hasSwapLimit && !raising) put('memsw.limit_in_bytes', memoryBytes)
      // Buffers of sockets count for themselves here, and not at all without a limit of their own.
      put('kmem.tcp.limit_in_bytes', Math.floor(memoryBytes * SOCKET_SHARE))
    },
    // The kernel rounds to pages, of up to 64 KiB.
    holds: (dir, { memoryBytes }) =>
      Math.abs(readNumber(dir, 'memory.limit_in_bytes') - memoryBytes) < 65_536,
    usage(dir) {
      const socketBytes = readNumber(dir, 'memory.kmem.tcp.usage_in_bytes')
      return {
        memoryBytes: readNumber(dir, 'memory.usage_in_bytes') + socketBytes,
        oomKills: readKey(dir, 'memory.oom_control', 'oom_kill'),
        // Every socket gets some, whatever the limit: many of them go beyond it.
        isOverLimit: socketBytes > 0 && socketBytes > 2 * readNumber(dir, 'memory.kmem.tcp.limit_in_bytes'),
      }
    },
    cachedBytes: (dir) =>
      readKey(dir, 'memory.stat', 'total_inactive_file') + readKey(dir, 'memory.stat', 'total_active_file'),
    peakBytes: (dir) => readNumber(dir, 'memory.max_usage_in_bytes'),
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
    limit: (dir, { cpuWeight }) => write(dir, 'cpu.shares', toCpuShares(cpuWeight)),
    holds: (dir, { cpuWeight }) => readNumber(dir, 'cpu.shares') === toCpuShares(cpuWeight),
    usage: () => ({}),
  },
  cpuacct: {
    label,
    limit: () => {},
    holds: () => true,
    usage: (dir) => ({ cpuMs: readNumber(dir, 'cpuacct.usage') / 1e6 }),
  },
}
