import { Readable } from 'node:stream'
import { z } from 'zod'
import { AgentRefusal } from '../channel/agent-link.ts'
import type { AgentStream } from '../channel/agent-stream.ts'
import { CobError } from '../errors.ts'

/** Names from the working directory down; empty: the working directory itself. */
export type FilePath = readonly string[]

/** A file of a session. Close it, or read it to its end. */
export interface OpenFile {
  readonly kind: 'file'
  /** Bytes. */
  readonly size: number
  /** ms since the epoch, at most what HTTP can tell. */
  readonly modified: number
  /** Changes with the content. */
  readonly tag: string
  read(offset: number, length: number): Readable
  close(): void
}

interface FolderEntry {
  readonly name: string
  readonly type: EntryType
  readonly size: number
  readonly modified: number
}

/** A folder of a session. Close it, or read its archive to the end. */
export interface OpenFolder {
  readonly kind: 'folder'
  list(): Promise<{ entries: FolderEntry[]; truncated: boolean }>
  /** POSIX tar (pax). */
  archive(): Readable
  close(): void
}

/** The files in a session's working directory. Every method throws `CobError` for what cannot be done. */
export interface Files {
  open(path: FilePath): Promise<OpenFile | OpenFolder>
  /** Writes all of `source`, making missing folders; the file appears when it is whole. `announced`: bytes to expect. */
  write(
    path: FilePath,
    source: AsyncIterable<Uint8Array>,
    announced?: number,
  ): Promise<{ created: boolean; size: number }>
  /** A folder with all that is in it. */
  remove(path: FilePath): Promise<void>
}

export interface FilesOptions {
  readonly kernelId: string
  readonly maxUploadBytes: number
  readonly memoryBytes: number
  readonly openStream: () => Promise<AgentStream>
  /** Bytes the session may still use. */
  readonly freeMemory: () => Promise<number>
  /** Called when a transfer starts and when it ends. */
  readonly onUse: () => void
  readonly goneError: () => CobError | undefined
}

/** Transfers of one session at once. */
const MAX_TRANSFERS = 16
/** Part of a session's memory that uploads leave free: at the limit itself, its interpreter would be killed. */
const RESERVE = 1 / 16
const MAX_LOOK_BYTES = 8 * 1024 * 1024

const ENTRY_TYPES = ['file', 'folder', 'link', 'fifo', 'socket', 'device'] as const
type EntryType = (typeof ENTRY_TYPES)[number]
/** What HTTP can tell of time (RFC 9110, 5.6.7), in ms since the epoch: the years 1 to 9999. Code may give its files any other. */
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z')
const LAST_MS = Date.parse('9999-12-31T23:59:59Z')
const time = z.number().transform((ms) => Math.min(Math.max(Math.trunc(ms), FIRST_MS), LAST_MS))
const openedSchema = z.object({
  kind: z.enum(['file', 'folder']),
  size: z.int().min(0),
  modified: time,
  tag: z.string().regex(/^[0-9a-f-]{1,64}$/),
})
const listSchema = z.object({
  entries: z.array(z.tuple([z.string().max(255), z.enum(ENTRY_TYPES), z.int().min(0), time])).max(10_000),
  truncated: z.boolean(),
})
const writtenSchema = z.object({ created: z.boolean(), size: z.int().min(0) })

export function createFiles(options: FilesOptions): Files {
  const { kernelId, maxUploadBytes } = options
  const reserve = options.memoryBytes * RESERVE
  let transfers = 0

  const begin = async (): Promise<AgentStream> => {
    if (transfers >= MAX_TRANSFERS)
      throw CobError.of('too-many-transfers', { id: kernelId, count: transfers }, { retryAfterS: 1 })
    transfers++
    options.onUse()
    try {
      return await options.openStream()
    } catch (error) {
      end()
      throw toCobError(error, [])
    }
  }
  const end = (): void => {
    transfers--
    options.onUse()
  }
  const toCobError = (error: unknown, path: FilePath): unknown => {
    if (error instanceof AgentRefusal) return fromRefusal(error, path)
    if (error instanceof CobError) return error
    return options.goneError() ?? CobError.of('transfer-broken', { path: show(path) }, { cause: error })
  }
  const parse = <T>(schema: z.ZodType<T>, answer: unknown): T => {
    const parsed = schema.safeParse(answer)
    if (parsed.success) return parsed.data
    throw new Error(`the agent answered what it may not: ${parsed.error.issues[0]?.message}`)
  }
  /** Runs one request after the other on a connection of their own. */
  const within = async <T>(path: FilePath, use: (stream: AgentStream) => Promise<T>): Promise<T> => {
    const stream = await begin()
    try {
      return await use(stream)
    } catch (error) {
      throw toCobError(error, path)
    } finally {
      stream.close()
      end()
    }
  }

  return {
    async open(path) {
      const stream = await begin()
      const close = once(() => {
        stream.close()
        end()
      })
      try {
        const { kind, ...about } = parse(openedSchema, await stream.request('open', { path: [...path] }))
        if (kind === 'file') {
          const read = (offset: number, length: number): Readable =>
            exactly(length, stream.download('read', { offset, length })).once('close', close)
          return { kind, ...about, read, close }
        }
        return {
          kind,
          async list() {
            try {
              const { entries, truncated } = parse(listSchema, await stream.request('list', {}))
              const named = entries.map(([name, type, size, modified]) => ({ name, type, size, modified }))
              return { entries: named, truncated }
            } catch (error) {
              throw toCobError(error, path)
            } finally {
              close()
            }
          },
          archive: () => stream.download('archive', {}).once('close', close),
          close,
        }
      } catch (error) {
        close()
        throw toCobError(error, path)
      }
    },
    write: (path, source, announced = 0) =>
      within(path, async (stream) => {
        const assertRoom = async (size: number, more: number, kept: number): Promise<void> => {
          const where = { path: show(path), max: maxUploadBytes }
          if (size + more > maxUploadBytes) throw CobError.of('upload-too-large', where)
          const free = Math.floor((await options.freeMemory()) - kept)
          if (more > free) throw noSpace(path, free, announced)
        }
        await assertRoom(0, announced, reserve)
        await stream.request('write', { path: [...path], room: maxUploadBytes })
        // Looked at again and again: other uploads and the code itself use the same memory.
        const lookBytes = Math.min(reserve / 4, MAX_LOOK_BYTES)
        let size = 0
        let unseen = 0
        for await (const chunk of source) {
          unseen += chunk.length
          size += chunk.length
          if (unseen > lookBytes || size > maxUploadBytes) {
            // Less than at first: what was said to fit does.
            await assertRoom(size - unseen, unseen, reserve / 2)
            unseen = 0
          }
          await stream.write(chunk)
        }
        return parse(writtenSchema, await stream.request('commit', {}))
      }),
    remove: (path) =>
      within(path, async (stream) => {
        await stream.request('remove', { path: [...path] })
      }),
  }
}

/** Fails when it is not `length` bytes: they were promised to a client. */
function exactly(length: number, source: Readable): Readable {
  const counted = async function* (): AsyncGenerator<Buffer> {
    let left = length
    for await (const chunk of source) {
      left -= chunk.length
      if (left < 0) throw new Error('the agent sent more than the file has')
      yield chunk
    }
    if (left > 0) throw new Error('the agent sent less than the file has')
  }
  // Bytes, so that what is read ahead is bounded; it may be closed before anything is read.
  return Readable.from(counted(), { objectMode: false }).once('close', () => source.destroy())
}

function show(path: FilePath): string {
  return path.join('/') || '.'
}

/** `needed`: 0 where nobody knows. */
function noSpace(path: FilePath, free: unknown, needed = 0): CobError {
  const freeBytes = typeof free === 'number' && free > 0 ? Math.floor(free) : 0
  const extra = { freeBytes, ...(needed > 0 ? { neededBytes: needed } : {}) }
  return CobError.of('no-space', { path: show(path), free: freeBytes }, { extra })
}

function fromRefusal({ code, message, details }: AgentRefusal, path: FilePath): CobError {
  const what = { path: show(path), problem: message }
  switch (code) {
    case 'not-found':
      return CobError.of('no-such-file', what)
    case 'no-space':
    case 'too-large':
      return noSpace(path, details.free)
    case 'is-a-folder':
    case 'not-a-folder':
    case 'exists':
    case 'busy':
      return CobError.of('file-conflict', what)
    default:
      return CobError.of('file-refused', what)
  }
}

function once(act: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) act()
    isDone = true
  }
}
