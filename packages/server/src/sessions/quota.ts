import type { Network } from '@cob/protocol'
import { CobError } from '../errors.ts'

/** What the sessions of one owner may use together; null: no limit. */
export interface Quota {
  readonly maxKernels: number
  /** Of what its kernels may use, not of what they do. */
  readonly maxMemoryKb: number | null
  /** CPU time in a day, UTC. */
  readonly maxCpuMsPerDay: number | null
  readonly network: Network
  /** Names or aliases of kernel types. */
  readonly langs: readonly string[] | null
}

/** What they use at this time. */
export interface InUse {
  readonly kernels: number
  readonly memoryKb: number
  readonly cpuMsToday: number
}

const DAY_MS = 86_400_000

/** Midnight before `at`, UTC; ms since the epoch. */
export function startOfDay(at: number): number {
  return at - (at % DAY_MS)
}

export function hasCpuLeft({ maxCpuMsPerDay }: Quota, cpuMsToday: number): boolean {
  return maxCpuMsPerDay === null || cpuMsToday < maxCpuMsPerDay
}

/** Throws `quota-exceeded` when a kernel with `memoryKb` more would be too much. `now` in ms since the epoch. */
export function checkQuota(quota: Quota, inUse: InUse, memoryKb: number, now: number): void {
  const { maxKernels, maxMemoryKb } = quota
  if (inUse.kernels >= maxKernels)
    throw exceeded(`has ${inUse.kernels} live kernels, the most it may have. Destroy one first.`)
  if (maxMemoryKb !== null && inUse.memoryKb + memoryKb > maxMemoryKb) {
    throw exceeded(
      `has kernels of ${inUse.memoryKb} KB together and may have ${maxMemoryKb} KB; this one needs ${memoryKb} KB. Ask for less (resourceLimits.maxMem), or destroy one first.`,
    )
  }
  checkCpu(quota, inUse.cpuMsToday, now)
}

/** Throws `quota-exceeded` when the CPU time of the day is used up. */
export function checkCpu(quota: Quota, cpuMsToday: number, now: number): void {
  if (hasCpuLeft(quota, cpuMsToday)) return
  throw exceeded(
    `has used ${Math.floor(cpuMsToday)} ms of CPU time today and may use ${quota.maxCpuMsPerDay} ms a day. Try again after midnight UTC.`,
    Math.ceil((startOfDay(now) + DAY_MS - now) / 1000),
  )
}

function exceeded(problem: string, retryAfterS?: number): CobError {
  return CobError.of('quota-exceeded', { problem }, retryAfterS === undefined ? {} : { retryAfterS })
}
