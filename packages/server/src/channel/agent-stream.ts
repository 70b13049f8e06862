import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type Duplex, Readable } from 'node:stream'
import { type AgentStreamRequest, agentStreamMessageSchema } from '@cob/protocol'
import { AgentRefusal } from './agent-link.ts'
import { encodeBytesHeader, encodeJsonFrame, FrameDecoder, FrameError } from './framing.ts'

/** Bytes in one frame to the agent. */
const CHUNK_BYTES = 128 * 1024
/** Bytes that are read ahead for whoever takes them. */
const READ_AHEAD_BYTES = 256 * 1024
/** How long the agent may keep us waiting. */
const STALL_MS = 60_000

type RequestOf<M extends AgentStreamRequest['method']> = Extract<AgentStreamRequest, { method: M }>

/** A connection to one agent that carries files, or a terminal. One request at a time. */
export interface AgentStream {
  /** Rejects with `AgentRefusal` or what ended the connection. */
  request<M extends AgentStreamRequest['method']>(
    method: M,
    params: RequestOf<M>['params'],
  ): Promise<Record<string, unknown>>
  /**
   * The bytes that answer a request; fails as `request` does. Whoever destroys it ends the connection. `onEnd` gets what the agent says
   * behind them, before their end is read.
   */
  download<M extends AgentStreamRequest['method']>(
    method: M,
    params: RequestOf<M>['params'],
    onEnd?: (result: Record<string, unknown>) => void,
  ): Readable
  /** A request without an answer. */
  notify<M extends AgentStreamRequest['method']>(method: M, params: RequestOf<M>['params']): void
  /** Resolves when more may be written; rejects when the agent refuses the rest. */
  write(bytes: Uint8Array): Promise<void>
  /** Idempotent. What was not committed vanishes. */
  close(): void
}

export function createAgentStream(duplex: Duplex): AgentStream {
  const decoder = new FrameDecoder()
  const closing = new AbortController()
  let waiting: PromiseWithResolvers<Record<string, unknown>> | undefined
  let bytes: Readable | undefined
  let told: ((result: Record<string, unknown>) => void) | undefined
  let failure: Error | undefined
  let isTerminal = false

  const fail = (error: Error): void => {
    failure ??= error
    waiting?.reject(failure)
    waiting = undefined
    bytes?.destroy(failure)
    duplex.destroy()
    closing.abort(failure)
  }
  const stalled = setTimeout(() => {
    // A paused connection waits for our client, not for the agent; a terminal, for whoever sits there.
    if (duplex.isPaused() || isTerminal) stalled.refresh()
    else if (waiting || duplex.writableNeedDrain) fail(new Error(`the agent did nothing for ${STALL_MS} ms`))
    else stalled.refresh()
  }, STALL_MS).unref()

  const settle = (json: unknown): void => {
    const parsed = agentStreamMessageSchema.safeParse(json)
    if (!parsed.success) throw new FrameError('an invalid message')
    const message = parsed.data
    if (message.type === 'fail') {
      fail(new AgentRefusal(message.code, message.message, message.details))
      return
    }
    if (!waiting) throw new FrameError('an answer to nothing')
    waiting.resolve(message.result)
    waiting = undefined
    // At once, as the end may be read before whoever waits for a promise goes on.
    if (bytes) told?.(message.result)
    bytes?.push(null)
    bytes = undefined
  }
  duplex.on('data', (chunk: Buffer) => {
    stalled.refresh()
    try {
      for (const frame of decoder.push(chunk)) {
        if (failure) return
        if (frame.kind === 'json') settle(frame.json)
        else if (!bytes) throw new FrameError('bytes nobody asked for')
        else if (!bytes.push(frame.bytes)) duplex.pause()
      }
    } catch (cause) {
      fail(cause instanceof Error ? cause : new Error(String(cause)))
    }
  })
  duplex.on('error', fail)
  duplex.once('close', () => {
    clearTimeout(stalled)
    fail(new Error('the connection to the agent broke'))
  })

  const notify: AgentStream['notify'] = (method, params) => {
    if (failure) return
    stalled.refresh()
    duplex.write(encodeJsonFrame({ id: randomUUID(), method, params }))
  }
  const request: AgentStream['request'] = (method, params) => {
    if (failure) return Promise.reject(failure)
    const answered = Promise.withResolvers<Record<string, unknown>>()
    waiting = answered
    isTerminal = method === 'terminal'
    notify(method, params)
    return answered.promise
  }
  return {
    request,
    notify,
    download(method, params, onEnd) {
      const made = new Readable({
        highWaterMark: READ_AHEAD_BYTES,
        read: () => {
          stalled.refresh()
          duplex.resume()
        },
        destroy: (error, done) => {
          if (!made.readableEnded) fail(error ?? new Error('nobody reads any more'))
          done(error)
        },
      })
      bytes = made
      told = onEnd
      // It may fail before anybody listens; who reads then is told all the same (`errored`).
      made.on('error', () => {})
      // What went wrong reaches the reader.
      request(method, params).catch((error) => made.destroy(error))
      return made
    },
    async write(data) {
      for (let at = 0; at < data.length; at += CHUNK_BYTES) {
        if (failure) throw failure
        const chunk = data.subarray(at, at + CHUNK_BYTES)
        duplex.write(encodeBytesHeader(chunk.length))
        if (duplex.write(chunk)) continue
        stalled.refresh()
        await once(duplex, 'drain', { signal: closing.signal }).catch(() => {
          throw failure
        })
      }
    },
    close: () => fail(new Error('the connection was closed')),
  }
}
