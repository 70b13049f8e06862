import { KERNEL_ID_PATTERN } from '@cob/protocol'
import { z } from 'zod'
import { CobError } from '../errors.ts'

export const kernelParams = z.object({ id: z.string().describe('The kernel id') })

/** Throws `malformed-kernel-id` for what cannot be one. */
export function toKernelId(id: string): string {
  if (KERNEL_ID_PATTERN.test(id)) return id
  throw CobError.of('malformed-kernel-id', { id: id.slice(0, 80) })
}
