import { KERNEL_ID_PATTERN } from '@cob/protocol'
import { z } from 'zod'
import { CobError } from '../errors.ts'
import { problemResponse } from './openapi.ts'

export const kernelParams = z.object({ id: z.string().describe('The kernel id') })

/** A body is not needed; an empty object may come all the same. */
export const noBody = z.strictObject({}).nullish()
export const kernelNotFound = {
  404: problemResponse('There is no such kernel; `reason` and `terminatedAt` tell of one that has ended'),
}

/** Throws `malformed-kernel-id` for what cannot be one. */
export function toKernelId(id: string): string {
  if (KERNEL_ID_PATTERN.test(id)) return id
  throw CobError.of('malformed-kernel-id', { id: id.slice(0, 80) })
}
