import type { Network } from '@cob/protocol'
import type { Quota } from '../sessions/quota.ts'
import type { Store } from '../store/store.ts'

/** The server's settings; 0 is no limit. */
export interface QuotaSettings {
  readonly maxKernelsPerKey: number
  readonly maxMemoryKbPerKey: number
  readonly maxCpuMsPerDay: number
  readonly network: Network
}

/** What a key's kernels may have: what the key says, or else the server's settings. */
export function createQuotas(
  store: Pick<Store, 'findKey'>,
  settings: QuotaSettings,
): (accessKey: string) => Quota {
  return (accessKey) => {
    const limits = store.findKey(accessKey)?.limits
    return {
      maxKernels: limits?.maxKernels ?? settings.maxKernelsPerKey,
      maxMemoryKb: limits?.maxMem ?? (settings.maxMemoryKbPerKey || null),
      maxCpuMsPerDay: limits?.maxCpuPerDay ?? (settings.maxCpuMsPerDay || null),
      network: limits?.network ?? settings.network,
      langs: limits?.langs ?? null,
    }
  }
}
