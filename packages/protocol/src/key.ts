import { z } from 'zod'
import { NETWORKS } from './kernel.ts'

const ACCESS_KEY = '[A-Za-z0-9_.-]{1,128}'

/** `accessKey:secretKey`; a secret is printable ASCII without spaces. */
export const KEY_PATTERN: RegExp = new RegExp(`^(${ACCESS_KEY}):([\\x21-\\x7e]{1,256})$`)
/** What a signature's credential is: `accessKey:signature`, HMAC-SHA256 in hexadecimal. */
export const CREDENTIAL_PATTERN: RegExp = new RegExp(`^(${ACCESS_KEY}):([0-9A-Fa-f]{64})$`)

/** An `admin` may also use `/v1/admin`. */
export const KEY_ROLES = ['admin', 'user'] as const
export type KeyRole = (typeof KEY_ROLES)[number]

const bound = z.int().min(1).max(Number.MAX_SAFE_INTEGER).nullable()
/** What one key may do; null: as the server's settings say. */
export const keyLimitsSchema = z.strictObject({
  maxKernels: bound.describe('Kernels at once'),
  maxMem: bound.describe('KB that its kernels may ask for together'),
  rateLimit: bound.describe('Requests in 15 minutes'),
  maxCpuPerDay: bound.describe('ms of CPU time of all its kernels in a day (UTC)'),
  network: z.enum(NETWORKS).nullable().describe('What its kernels reach'),
  langs: z
    .array(z.string().min(1).max(64))
    .max(100)
    .nullable()
    .describe('The kernel types it may use; null: all'),
})
export type KeyLimits = z.infer<typeof keyLimitsSchema>
/** As the server's settings say. */
export const NO_LIMITS: KeyLimits = {
  maxKernels: null,
  maxMem: null,
  rateLimit: null,
  maxCpuPerDay: null,
  network: null,
  langs: null,
}
