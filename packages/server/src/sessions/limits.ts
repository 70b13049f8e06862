import type { CreateKernel, LangManifest } from '@cob/protocol'
import { CobError } from '../errors.ts'

/** Default and hard limit of one resource; `max` 0 means there is no hard limit. */
interface LimitRange {
  readonly default: number
  readonly max: number
}

export interface LimitRanges {
  readonly memoryKb: LimitRange
  readonly queryTimeoutMs: LimitRange
  readonly idleTimeoutMs: LimitRange
  readonly cpuCreditMs: LimitRange
}

/** What one session may use. `maxCpuCreditMs` 0 means no limit. */
export interface SessionLimits {
  readonly memoryKb: number
  readonly queryTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxCpuCreditMs: number
}

type Requested = NonNullable<CreateKernel['resourceLimits']>

/**
 * Requested limits, or the server's where none (or 0) is asked for. Throws `limits-exceeded` (406) above
 * a hard limit and `limit-too-low` below what the kernel type needs to start.
 */
export function resolveLimits(
  requested: Requested | undefined,
  ranges: LimitRanges,
  manifest: LangManifest,
): SessionLimits {
  const choose = (field: keyof Requested, range: LimitRange, unit: string): number => {
    const value = requested?.[field] || range.default || range.max
    if (range.max > 0 && value > range.max) {
      throw CobError.of('limits-exceeded', { field, value, max: range.max, unit })
    }
    return value
  }
  const memoryKb = choose('maxMem', ranges.memoryKb, 'KB')
  if (memoryKb < manifest.minMemKb) {
    throw CobError.of('limit-too-low', {
      field: 'maxMem',
      value: memoryKb,
      unit: 'KB',
      lang: manifest.lang,
      min: manifest.minMemKb,
    })
  }
  return {
    memoryKb,
    queryTimeoutMs: choose('timeout', ranges.queryTimeoutMs, 'ms'),
    idleTimeoutMs: choose('idleTimeout', ranges.idleTimeoutMs, 'ms'),
    maxCpuCreditMs: choose('maxCpuCredit', ranges.cpuCreditMs, 'ms'),
  }
}
