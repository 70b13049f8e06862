import { z } from 'zod'
import { endReasonSchema, kernelInfoSchema } from './kernel.ts'
import { KEY_ROLES, keyLimitsSchema } from './key.ts'

/** Schemas of `/v1/admin`. Instants are ISO 8601 in UTC, durations ms, memory KB. */

const instant = z.iso.datetime()
const MAX_OVERLAP_MS = 30 * 86_400_000
/** How long the old secret of a key stays valid when nobody says otherwise. */
export const DEFAULT_OVERLAP_MS = 86_400_000

const changeable = {
  name: z.string().max(200).optional().describe('What it is for'),
  role: z.enum(KEY_ROLES).optional(),
  expiresAt: instant.nullable().optional().describe('From then on it is not valid; null: never'),
  limits: keyLimitsSchema.partial().optional().describe('Those not named stay as they are'),
}
export const createKeySchema = z.strictObject(changeable)
export type CreateKey = z.infer<typeof createKeySchema>
export const changeKeySchema = z.strictObject(changeable)
export type ChangeKey = z.infer<typeof changeKeySchema>
export const rotateKeySchema = z
  .strictObject({
    overlapMs: z
      .int()
      .min(0)
      .max(MAX_OVERLAP_MS)
      .optional()
      .describe(`ms the old secret stays valid; absent: ${DEFAULT_OVERLAP_MS}`),
  })
  .nullish()

export const keyInfoSchema = z.object({
  accessKey: z.string(),
  name: z.string(),
  role: z.enum(KEY_ROLES),
  isValid: z.boolean().describe('It is neither disabled nor expired'),
  createdAt: instant,
  disabledAt: instant.nullable(),
  expiresAt: instant.nullable(),
  previousSecretValidUntil: instant.nullable().describe('Of a secret that was replaced'),
  limits: keyLimitsSchema,
})
export type KeyInfo = z.infer<typeof keyInfoSchema>
/** The only time a secret is told. */
export const keyWithSecretSchema = keyInfoSchema.extend({ secretKey: z.string() })
export type KeyWithSecret = z.infer<typeof keyWithSecretSchema>

export const keyInUseSchema = z.object({
  kernels: z.int(),
  memoryKb: z.int().describe('That its live kernels may use together'),
  cpuMsToday: z.int().describe('CPU time of its kernels since midnight UTC'),
})
export type KeyInUse = z.infer<typeof keyInUseSchema>

/** Sessions that ended in a period, by key. */
export const keyUsageSchema = z.object({
  accessKey: z.string(),
  sessions: z.int(),
  cpuMs: z.int(),
  executions: z.int(),
  outputBytes: z.int(),
  lifetimeMs: z.int().describe('From creation to end, of all together'),
  peakMemoryKb: z.int().describe('Of the one that used most'),
})
export type KeyUsage = z.infer<typeof keyUsageSchema>

/** One session that ended. */
export const sessionUsageSchema = z.object({
  kernelId: z.string(),
  accessKey: z.string(),
  lang: z.string(),
  createdAt: instant,
  endedAt: instant,
  reason: endReasonSchema,
  cpuMs: z.int(),
  peakMemoryKb: z.int(),
  executions: z.int(),
  outputBytes: z.int(),
})
export type SessionUsage = z.infer<typeof sessionUsageSchema>

const page = {
  limit: z.coerce.number<string>().int().min(1).max(10_000).default(1000),
  after: z.coerce.number<string>().int().min(0).optional().describe('`next` of the page before'),
}
const period = {
  key: z.string().optional().describe('Of this access key only'),
  from: instant.optional(),
  to: instant.optional().describe('Not this instant itself'),
}
export const usageQuerySchema = z.strictObject({
  ...period,
  ...page,
  by: z.enum(['key', 'session']).default('key'),
  format: z.enum(['json', 'csv']).optional().describe('Goes before `Accept`'),
})
const next = z.int().nullable().describe('`after` of the next page; null: there is none')
export const usageSchema = z.union([
  z.object({ keys: z.array(keyUsageSchema) }),
  z.object({ sessions: z.array(sessionUsageSchema), next }),
])

export const AUDIT_ACTIONS = [
  'key.create',
  'key.change',
  'key.disable',
  'key.enable',
  'key.rotate',
  'session.create',
  'session.restart',
  'session.end',
  'server.drain',
  'server.undrain',
] as const
export type AuditAction = (typeof AUDIT_ACTIONS)[number]

/** Newest first. */
export const auditQuerySchema = z.strictObject({ ...period, ...page })
export const auditEntrySchema = z.object({
  id: z.int(),
  at: instant,
  who: z.string().describe('Access key; `cob` where it was the command on the data folder'),
  action: z.enum(AUDIT_ACTIONS),
  target: z.string().nullable().describe('Access key or kernel id'),
  requestId: z.string().nullable(),
  outcome: z.string().describe('`ok`, or the code of the error'),
})
export type AuditEntry = z.infer<typeof auditEntrySchema>
export const auditSchema = z.object({ entries: z.array(auditEntrySchema), next })

/** A live session, whoever's it is. */
export const anySessionSchema = z.object({ accessKey: z.string(), ...kernelInfoSchema.shape })
export type AnySession = z.infer<typeof anySessionSchema>

export const drainRequestSchema = z
  .strictObject({ stop: z.boolean().optional().describe('Ends the server when no session is left') })
  .nullish()
export const drainSchema = z.object({
  draining: z.boolean(),
  since: instant.nullable(),
  stop: z.boolean(),
  sessions: z.int().describe('That are left'),
})
export type Drain = z.infer<typeof drainSchema>
