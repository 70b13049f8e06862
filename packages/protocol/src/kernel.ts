import { z } from 'zod'
import { terminalSize } from './channel.ts'

/** Schemas of the v1 kernel API's bodies: the contract's fields first, then ours. Memory in KB, times in ms. */

/** 128 random bits as unpadded base64url. */
export const KERNEL_ID_PATTERN: RegExp = /^[A-Za-z0-9_-]{21}[AQgw]$/

const limit = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

/** Names as POSIX allows them in the environment (IEEE Std 1003.1, 8.1). */
const environ = z
  .record(
    z
      .string()
      .regex(
        /^[A-Za-z_][A-Za-z0-9_]{0,255}$/,
        'a variable name is letters, digits and _, not starting with a digit',
      ),
    z
      .string()
      .max(32_768)
      .refine((value) => !value.includes('\0'), 'a value cannot contain NUL')
      .refine((value) => value.isWellFormed(), 'a value is Unicode, without half a surrogate pair'),
  )
  .refine((value) => Object.keys(value).length <= 256, 'at most 256 variables')

export const createKernelSchema = z.strictObject({
  lang: z.string().min(1).max(64),
  clientSessionToken: z
    .string()
    .regex(/^[\x20-\x7e]{4,80}$/, '4 to 80 printable ASCII characters')
    .optional(),
  resourceLimits: z
    .strictObject({
      maxMem: limit.optional().describe('KB; 0 or absent: the default'),
      timeout: limit.optional().describe('ms one query may run; 0 or absent: the default'),
      idleTimeout: limit.optional().describe('ms between queries; 0 or absent: the default'),
      maxCpuCredit: limit.optional().describe('ms of CPU time in all; 0 or absent: the default'),
    })
    .optional(),
  environ: environ.optional(),
})
export type CreateKernel = z.infer<typeof createKernelSchema>

export const kernelCreatedSchema = z.object({ kernelId: z.string(), created: z.boolean() })

export const END_REASONS = [
  'query-timeout',
  'idle-timeout',
  'cpu-credit-exhausted',
  'out-of-memory',
  'crashed',
  'user-requested',
  'server-shutdown',
] as const
export const endReasonSchema = z.enum(END_REASONS)
export type EndReason = z.infer<typeof endReasonSchema>

/** Nothing, or public addresses only. */
export const NETWORKS = ['none', 'egress'] as const
export type Network = (typeof NETWORKS)[number]

export const isolationSchema = z.object({
  backend: z.string(),
  /** How the session's processes are told apart from others': an own host uid, or the server's uid in a namespace. */
  user: z.enum(['own-uid', 'server-uid', 'none']),
  network: z.enum(NETWORKS),
  /** What the processes may ask of the kernel: a seccomp allow-list, or all there is. */
  systemCalls: z.enum(['allow-list', 'all']),
  memory: z.string(),
  processes: z.string(),
  cpu: z.string(),
  /** Limits that this host cannot enforce; empty when all hold. */
  unenforced: z.array(z.string()),
})
export type Isolation = z.infer<typeof isolationSchema>

export const kernelStatusSchema = z.enum(['idle', 'busy', 'waiting-input', 'restarting'])

export const kernelInfoSchema = z.object({
  lang: z.string(),
  age: z.int().describe('ms since the session was created'),
  idle: z.int().describe('ms since the kernel last produced output'),
  queryTimeout: z.int(),
  idleTimeout: z.int(),
  maxCpuCredit: z.int().describe('ms of CPU time; 0: no limit'),
  numQueriesExecuted: z.int(),
  memoryUsed: z.int().describe('KB'),
  cpuCreditUsed: z.int().describe('ms'),
  kernelId: z.string(),
  clientSessionToken: z.string(),
  status: kernelStatusSchema,
  maxMem: z.int().describe('KB'),
  isolation: isolationSchema,
})
export type KernelInfo = z.infer<typeof kernelInfoSchema>

export const runCodeSchema = z.strictObject({
  code: z.string(),
  codeId: z.string().min(1).max(64).optional(),
})
export type RunCode = z.infer<typeof runCodeSchema>

/** `[name, args, raisedBeforeExecution, tracebackLines]` */
export const exceptionSchema = z.tuple([z.string(), z.array(z.string()), z.boolean(), z.array(z.string())])
/** `[mime, content]`: text and XML as they are, anything else as a data URI. */
export const mediaSchema = z.tuple([z.string(), z.string()])

const changedFile = z.object({ path: z.string(), size: z.int().describe('bytes') })
const runStatus = z.enum(['finished', 'waiting-input', 'continued', 'interrupted', 'terminated'])
const runReason = z.enum([...END_REASONS, 'restarted'])

export const runResultSchema = z.object({
  status: runStatus,
  reason: runReason.optional(),
  stdout: z.string(),
  stderr: z.string(),
  media: z.array(mediaSchema),
  exceptions: z.array(exceptionSchema),
  value: z.record(z.string(), z.unknown()).optional().describe('MIME bundle of the last expression'),
  options: z.object({ prompt: z.string(), isPassword: z.boolean() }).optional(),
  executionId: z.string(),
  executionCount: z.int(),
  durationMs: z.number(),
  truncated: z.boolean(),
  files: z.array(changedFile).optional().describe('Files the code created or changed'),
  moreFiles: z.boolean().optional().describe('There may be more files than `files` tells of'),
})
export type RunResult = z.infer<typeof runResultSchema>
export const runResponseSchema = z.object({ result: runResultSchema })

const bundle = z.record(z.string(), z.unknown()).describe('MIME bundle')
const numbered = { id: z.int().min(1) }
const shown = {
  data: bundle,
  metadata: z.record(z.string(), z.unknown()),
  displayId: z.string().optional().describe('Names the display, so that a later event can change it'),
}
/** What happens in an execution, one after the other; `id` rises by one (spec/api.md, "Running code"). */
export const executionEventSchema = z.discriminatedUnion('type', [
  z.object({ ...numbered, type: z.literal('started'), executionId: z.string(), count: z.int() }),
  z.object({
    ...numbered,
    type: z.literal('stream'),
    name: z.enum(['stdout', 'stderr']),
    text: z.string(),
  }),
  z.object({
    ...numbered,
    type: z.literal('display'),
    ...shown,
    update: z.literal(true).optional().describe('Changes the display of that `displayId`'),
  }),
  z.object({
    ...numbered,
    type: z.literal('clear'),
    wait: z.boolean().describe('What was shown so far goes when the next output comes, else at once'),
  }),
  z.object({
    ...numbered,
    type: z.literal('result'),
    data: bundle,
    metadata: z.record(z.string(), z.unknown()),
    count: z.int(),
  }),
  z.object({
    ...numbered,
    type: z.literal('error'),
    name: z.string(),
    args: z.array(z.string()),
    traceback: z.array(z.string()),
    before: z.boolean().describe('The code never started to run'),
    frames: z
      .array(
        z.object({
          file: z.string(),
          line: z.int().nullable(),
          name: z.string(),
          text: z.string().optional(),
        }),
      )
      .optional()
      .describe('Where it was raised, outermost first'),
  }),
  z.object({
    ...numbered,
    type: z.literal('input-request'),
    prompt: z.string(),
    password: z.boolean(),
  }),
  z.object({
    ...numbered,
    type: z.literal('finished'),
    status: runStatus,
    reason: runReason.optional(),
    durationMs: z.number(),
    files: z.array(changedFile).optional(),
    moreFiles: z.boolean().optional(),
  }),
])
export type ExecutionEvent = z.infer<typeof executionEventSchema>

/** What becomes of a session, as its stream of events tells it (spec/api.md, "Streams"). */
export const sessionEventSchema = z.discriminatedUnion('name', [
  z.object({ name: z.literal('started') }),
  z.object({ name: z.literal('restarted') }),
  z.object({ name: z.literal('terminated'), reason: endReasonSchema }),
  z.object({ name: z.literal('resource-warning'), reason: z.enum(['memory', 'cpu-credit']) }),
])
export type SessionEvent = z.infer<typeof sessionEventSchema>

/** What a client sends to a terminal; `chars` are base64 of bytes. */
export const terminalInputSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('stdin'), chars: z.base64() }),
  z.strictObject({ type: z.literal('resize'), ...terminalSize.shape }),
  z.strictObject({ type: z.literal('ping') }),
  z.strictObject({ type: z.literal('restart') }),
])
/** What a terminal sends; the `data` of `out` is base64 of bytes, never ending within a character of UTF-8. */
export type TerminalOutput = { type: 'out'; data: string } | { type: 'error'; data: string }

export const supplyInputSchema = z.strictObject({ text: z.string() })

const MAX_QUESTION = 1024 * 1024
/** `cursor` counts Unicode characters from the start of `code`; absent: its end. */
export const questionSchema = z.strictObject({
  code: z.string().max(MAX_QUESTION),
  cursor: z.int().min(0).optional().describe('Unicode characters from the start of `code`; absent: its end'),
})
export type Question = z.infer<typeof questionSchema>

export const completionSchema = z.object({
  matches: z.array(z.object({ text: z.string().max(4096), type: z.string().max(64).optional() })).max(2000),
  start: z.int().min(0).describe('Where what a match replaces starts, in Unicode characters'),
  end: z.int().min(0),
})
export type Completion = z.infer<typeof completionSchema>

export const inspectionSchema = z.object({ found: z.boolean(), data: bundle })
export type Inspection = z.infer<typeof inspectionSchema>

export const langInfoSchema = z.object({
  lang: z.string(),
  aliases: z.array(z.string()),
  displayName: z.string(),
  version: z.string().nullable(),
  available: z.boolean(),
  install: z.string().optional(),
  features: z.array(z.string()),
})
export type LangInfo = z.infer<typeof langInfoSchema>

/** RFC 9457. */
export const problemSchema = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  requestId: z.string(),
})
export type Problem = z.infer<typeof problemSchema>
