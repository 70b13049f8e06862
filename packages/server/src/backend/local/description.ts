import { isolationSchema, NETWORKS } from '@cob/protocol'
import { z } from 'zod'

const identity = z.strictObject({ pid: z.int().min(1), startTime: z.int().min(0) })

/** What another process must know to have a sandbox: see `Backend.describe`. */
const descriptionSchema = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{24}$/),
  uid: z.int().min(0).nullable(),
  network: z.enum(NETWORKS),
  isolation: isolationSchema,
  /** The outer bubblewrap process, and the first one inside. */
  outer: identity,
  inner: identity,
  /** The process that carries its traffic. */
  egress: identity.nullable(),
  cgroups: z.array(z.strictObject({ dir: z.string(), controllers: z.array(z.string()) })).min(1),
  limits: z.strictObject({
    memoryBytes: z.number().min(0),
    processes: z.number().min(0),
    cpuWeight: z.number().min(1),
  }),
})
export type LocalDescription = z.infer<typeof descriptionSchema>

/** Undefined for what is none. */
export function parseDescription(description: unknown): LocalDescription | undefined {
  return descriptionSchema.safeParse(description).data
}
