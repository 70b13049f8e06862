import { z } from 'zod'

/**
 * The channel between the server and the agent inside a sandbox, and between the agent and an
 * evaluator. Message names follow the Jupyter messaging protocol
 * (https://jupyter-client.readthedocs.io/en/stable/messaging.html).
 *
 * A frame is a u32 big-endian length (of everything that follows it), a u8 kind and a payload.
 */
export const CHANNEL_PROTOCOL = 1
/** Upper bound of a frame's length field in bytes; a larger one is a protocol violation. */
export const MAX_FRAME_BYTES: number = 8 * 1024 * 1024
/**
 * Upper bound of the values in a JSON frame, one under a key counting for {@link KEY_WEIGHT} more, as it takes that much longer to parse;
 * beyond it is a protocol violation. About 30 ms.
 */
export const MAX_FRAME_VALUES = 400_000
export const KEY_WEIGHT = 8
/** Bytes of unacknowledged events the agent keeps before it stops reading from the evaluator. */
export const EVENT_WINDOW_BYTES: number = 1024 * 1024

export const FRAME_KIND = { json: 0, bytes: 1 } as const

const requestId = z.string().min(1).max(64)
// Not `z.record`, which takes longer over each key than JSON.parse does.
const object = z.custom<Record<string, unknown>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
)
const mimeBundle = object.refine((bundle) => {
  const types = Object.keys(bundle)
  return types.length <= 64 && types.every((type) => type.length <= 256)
}, 'at most 64 MIME types of at most 256 characters')

const displayId = z.string().max(256)

const MAX_FRAMES = 100
const MAX_CHANGED_FILES = 200
/** 128 names of 255 bytes, each of them perhaps a lone surrogate. */
const MAX_PATH = 128 * 256
/** A place in user code, as an error's traceback has it. `line` counts from 1. */
const frameSchema = z.object({
  file: z.string().max(4096),
  line: z.int().nullable(),
  name: z.string().max(1024),
  text: z.string().max(4096).optional(),
})

/** What the server asks of the agent. `execute` is answered by events and, last, `execute_reply`; all others by `reply` or `fail`. */
export const agentRequestSchema = z.discriminatedUnion('method', [
  z.strictObject({
    id: requestId,
    method: z.literal('attach'),
    params: z.strictObject({ protocol: z.int(), after: z.int().min(0) }),
  }),
  z.strictObject({ method: z.literal('ack'), params: z.strictObject({ seq: z.int().min(0) }) }),
  z.strictObject({
    id: requestId,
    method: z.literal('configure'),
    params: z.strictObject({ environ: z.record(z.string(), z.string()) }),
  }),
  z.strictObject({
    id: requestId,
    method: z.literal('execute'),
    params: z.strictObject({ code: z.string() }),
  }),
  z.strictObject({
    id: requestId,
    method: z.literal('input'),
    params: z.strictObject({ execution: requestId, text: z.string() }),
  }),
  z.strictObject({
    id: requestId,
    method: z.literal('interrupt'),
    params: z.strictObject({ execution: requestId }),
  }),
  z.strictObject({
    id: requestId,
    method: z.literal('complete'),
    params: z.strictObject({ code: z.string(), cursor: z.int().min(0) }),
  }),
  z.strictObject({
    id: requestId,
    method: z.literal('inspect'),
    params: z.strictObject({ code: z.string(), cursor: z.int().min(0) }),
  }),
  z.strictObject({ id: requestId, method: z.literal('restart'), params: z.strictObject({}) }),
  z.strictObject({ id: requestId, method: z.literal('ping'), params: z.strictObject({}) }),
])
export type AgentRequest = z.infer<typeof agentRequestSchema>

/** As `struct winsize` has them (ioctl_tty(2)). */
const cells = z.int().min(1).max(0xffff)
export const terminalSize = z.strictObject({ rows: cells, cols: cells })
export type TerminalSize = z.infer<typeof terminalSize>

const path = z.array(z.string().min(1).max(255)).max(128)
/**
 * What the server asks on a connection that carries files or a terminal, beside the one of {@link agentRequestSchema}; the first frame tells them apart.
 * One request at a time. `read` and `archive` are answered by bytes frames and, last, `reply`; after the reply to `write` the server
 * sends the bytes, then `commit`. `fail` ends what was asked for.
 */
export const agentStreamRequestSchema = z.discriminatedUnion('method', [
  /** `{kind: file | folder, size, modified, tag}` of what stands there; `tag` changes with the content. */
  z.strictObject({ id: requestId, method: z.literal('open'), params: z.strictObject({ path }) }),
  z.strictObject({
    id: requestId,
    method: z.literal('read'),
    params: z.strictObject({ offset: z.int().min(0), length: z.int().min(0) }),
  }),
  /** `{entries: [[name, kind, size, modified]], truncated}` of the open folder. */
  z.strictObject({ id: requestId, method: z.literal('list'), params: z.strictObject({}) }),
  /** The open folder as a tar archive. */
  z.strictObject({ id: requestId, method: z.literal('archive'), params: z.strictObject({}) }),
  /** `room`: bytes the file may have at most. */
  z.strictObject({
    id: requestId,
    method: z.literal('write'),
    params: z.strictObject({ path, room: z.int().min(0) }),
  }),
  /** Gives what was written its name: `{created, size}`. */
  z.strictObject({ id: requestId, method: z.literal('commit'), params: z.strictObject({}) }),
  z.strictObject({ id: requestId, method: z.literal('remove'), params: z.strictObject({ path }) }),
  /** A shell on a terminal of this size. Bytes go both ways; `{exit}` comes when the shell has ended. */
  z.strictObject({ id: requestId, method: z.literal('terminal'), params: terminalSize }),
  /** Needs no answer. Only while a shell runs. */
  z.strictObject({ id: requestId, method: z.literal('resize'), params: terminalSize }),
])
export type AgentStreamRequest = z.infer<typeof agentStreamRequestSchema>

export const agentStreamMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('reply'), id: requestId, result: z.record(z.string(), z.unknown()) }),
  z.object({
    type: z.literal('fail'),
    id: requestId,
    code: z.string().max(64),
    message: z.string().max(4096),
    details: z.record(z.string(), z.unknown()),
  }),
])

/**
 * What the agent tells the server. `seq` rises by one with every event and is never reused while the
 * agent lives; `id` is the request (for output: the execution) it belongs to, null for output that
 * appeared while nothing ran.
 */
const numbered = { seq: z.int().min(1), id: requestId.nullable() }
export const agentEventSchema = z.discriminatedUnion('type', [
  z.object({ ...numbered, type: z.literal('reply'), result: z.record(z.string(), z.unknown()) }),
  z.object({ ...numbered, type: z.literal('fail'), code: z.string().max(64), message: z.string().max(4096) }),
  z.object({ ...numbered, type: z.literal('stream'), name: z.enum(['stdout', 'stderr']), text: z.string() }),
  z.object({
    ...numbered,
    type: z.literal('display_data'),
    data: mimeBundle,
    metadata: object,
    /** Names the display, so that a later event can change it. */
    displayId: displayId.optional(),
  }),
  z.object({
    ...numbered,
    type: z.literal('update_display_data'),
    data: mimeBundle,
    metadata: object,
    displayId,
  }),
  /** What was put out so far is to be removed: now, or (`wait`) when the next output comes. */
  z.object({ ...numbered, type: z.literal('clear_output'), wait: z.boolean() }),
  z.object({
    ...numbered,
    type: z.literal('execute_result'),
    data: mimeBundle,
    metadata: object,
  }),
  z.object({
    ...numbered,
    type: z.literal('error'),
    name: z.string(),
    args: z.array(z.string()),
    traceback: z.array(z.string()),
    /** True when the code never started to run (a syntax error). */
    before: z.boolean(),
    /** Where it was raised, outermost first. */
    frames: z.array(frameSchema).max(MAX_FRAMES).optional(),
  }),
  z.object({ ...numbered, type: z.literal('input_request'), prompt: z.string(), password: z.boolean() }),
  z.object({
    ...numbered,
    type: z.literal('execute_reply'),
    status: z.enum(['ok', 'error', 'interrupted']),
    durationMs: z.number().min(0),
    /** Files in the working directory that were created or changed, `size` in bytes; `moreFiles`: there may be more. */
    files: z
      .array(z.object({ path: z.string().max(MAX_PATH), size: z.int().min(0) }))
      .max(MAX_CHANGED_FILES)
      .optional(),
    moreFiles: z.boolean().optional(),
  }),
  z.object({
    ...numbered,
    type: z.literal('status'),
    state: z.enum(['ready', 'dead']),
    exit: z.int().nullable().optional(),
    signal: z.int().nullable().optional(),
  }),
])
export type AgentEvent = z.infer<typeof agentEventSchema>

/**
 * The first answer on every connection, outside the numbering. `next` is the number the next new event
 * will get; events after the attach request's `after` that are still in the ring follow at once, from number `first` on.
 */
export const attachedSchema = z.object({
  type: z.literal('attached'),
  id: requestId,
  protocol: z.literal(CHANNEL_PROTOCOL),
  state: z.enum(['starting', 'ready', 'dead']),
  /** The one that runs. */
  execution: requestId.nullable(),
  /** The last one that was started. */
  last: requestId.nullable(),
  /** The running one waits for input. */
  asking: z.boolean(),
  /** Since the last output. */
  quietMs: z.number().min(0),
  /** How many events of the last execution of which any are gone. */
  cut: z.object({ id: requestId, count: z.int().min(1) }).nullable(),
  first: z.int().min(1),
  next: z.int().min(1),
})
export type Attached = z.infer<typeof attachedSchema>

export const agentMessageSchema = z.discriminatedUnion('type', [attachedSchema, ...agentEventSchema.options])
export type AgentMessage = z.infer<typeof agentMessageSchema>
