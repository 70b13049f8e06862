import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import {
  type AgentEvent,
  type AgentMessage,
  type AgentRequest,
  type Attached,
  agentMessageSchema,
  CHANNEL_PROTOCOL,
  MAX_FRAME_BYTES,
} from '@cob/protocol'
import { encodeJsonFrame, type Frame, FrameDecoder, FrameError } from './framing.ts'

/** Event bytes taken in before the agent is told it may forget them; well below its window. */
const ACK_EVERY_BYTES = 64 * 1024
/** Connections in a row that brought no event before the agent counts as lost. */
const MAX_FRUITLESS_CONNECTIONS = 4
/** Bytes an agent may leave unread; room for one request of the largest size and small ones beside it. */
const MAX_UNREAD_BYTES = 2 * MAX_FRAME_BYTES
/** Requests an agent may leave unanswered. */
const MAX_PENDING = 64
/** Nesting allowed in MIME bundles: deeper ones could overflow the stack of whoever serialises them. */
const MAX_DEPTH = 64

/** Why a link is over: the agent misbehaved, could not be reached any more, or we closed it. */
class LinkClosedError extends Error {
  override readonly name = 'LinkClosedError'
}

/** An agent's refusal of one request, by its code. */
export class AgentRefusal extends Error {
  override readonly name = 'AgentRefusal'
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>
  constructor(code: string, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.code = code
    this.details = details
  }
}

/** An event that answers no `request`: output, state, or the refusal of an execution. */
export type AgentOutput = Exclude<AgentEvent, { type: 'reply' }>
type RequestOf<M extends AgentRequest['method']> = Extract<AgentRequest, { method: M }>
type Answered = Exclude<AgentRequest['method'], 'attach' | 'ack' | 'execute'>

interface AgentListener {
  /** Output and state, each event once and in order. */
  readonly onEvent: (event: AgentOutput) => void
  /** The link is over and was not closed by us. */
  readonly onLost: (error: LinkClosedError) => void
}

export interface AgentLinkOptions extends AgentListener {
  /** Opens a byte stream to the agent; called again when the last one broke. */
  readonly connect: () => Promise<Duplex>
}

/** The server's end of the channel to one agent. */
export interface AgentLink {
  /** Sends a request, with an id of the caller's or a new one, and waits for its reply. Rejects with `AgentRefusal` or `LinkClosedError`. */
  request<M extends Answered>(
    method: M,
    params: RequestOf<M>['params'],
    id?: string,
  ): Promise<Record<string, unknown>>
  /** From here on this one is told instead. */
  listen(listener: AgentListener): void
  /**
   * Starts an execution; what becomes of it arrives as events that carry its id. A refusal is the event `fail`. False: this process still
   * holds a part of it, and the agent never gets it should this process end now.
   */
  execute(executionId: string, code: string): boolean
  /** True: events are taken in but not acknowledged, so that soon the agent stops the code's output. */
  holdBack(isHeld: boolean): void
  close(): void
}

/**
 * Connects and attaches. A broken stream is reconnected, and events since the last one seen are asked
 * for, so none is lost or doubled; requests that waited for a reply are rejected then, because whether
 * the agent got them cannot be known.
 */
export async function createAgentLink(options: AgentLinkOptions): Promise<AgentLink> {
  const link = new Link(options)
  try {
    await link.open()
  } catch (error) {
    link.close()
    throw error
  }
  return link
}

/** A link to an agent that another server had, with what that one may not have read. */
export interface AdoptedLink {
  readonly link: AgentLink
  readonly attached: Attached
  /** All that the agent kept, in order; those from number `attached.next` on are new. */
  readonly events: readonly AgentOutput[]
}

/**
 * The same to an agent that another server had. Events are not acknowledged until `holdBack(false)`, so that a third server would find
 * them again; call `listen` in the turn in which it resolves. Rejects when the agent does not answer in `timeoutMs`.
 */
export async function adoptAgentLink(
  connect: AgentLinkOptions['connect'],
  timeoutMs: number,
): Promise<AdoptedLink> {
  const events: AgentOutput[] = []
  const link = new Link({ connect, onEvent: (event) => events.push(event), onLost: () => {} })
  const late = setTimeout(() => link.close(), timeoutMs)
  try {
    return { link, attached: await link.adopt(), events }
  } catch (error) {
    link.close()
    throw error
  } finally {
    clearTimeout(late)
  }
}

class Link implements AgentLink {
  readonly #connect: AgentLinkOptions['connect']
  readonly #pending = new Map<string, PromiseWithResolvers<Record<string, unknown>>>()
  #listener: AgentListener
  #stream: Duplex | undefined
  #attaching: PromiseWithResolvers<Attached> | undefined
  #lastSeq = 0
  #unackedBytes = 0
  #fruitless = 0
  #isHeld = false
  #isAdopting = false
  /** Resolves at event number `until`. */
  #caughtUp: { readonly until: number; readonly reached: PromiseWithResolvers<void> } | undefined
  #closed = false

  constructor(options: AgentLinkOptions) {
    this.#connect = options.connect
    this.#listener = options
  }

  async open(): Promise<Attached> {
    const stream = await this.#connect()
    if (this.#closed) {
      stream.destroy()
      throw new LinkClosedError('closed while connecting')
    }
    this.#stream = stream
    const decoder = new FrameDecoder()
    stream.on('data', (chunk: Buffer) => this.#receive(decoder, chunk))
    stream.on('error', () => {})
    stream.once('end', () => stream.destroy())
    stream.once('close', () => this.#streamClosed(stream))
    this.#attaching = Promise.withResolvers<Attached>()
    this.#send({
      id: randomUUID(),
      method: 'attach',
      params: { protocol: CHANNEL_PROTOCOL, after: this.#lastSeq },
    })
    return await this.#attaching.promise
  }

  /** Opens it, and resolves when all that the agent kept has been read. */
  async adopt(): Promise<Attached> {
    this.#isHeld = true
    this.#isAdopting = true
    const attached = await this.open()
    this.#isAdopting = false
    await this.#reach(attached.next - 1)
    return attached
  }

  request<M extends Answered>(
    method: M,
    params: RequestOf<M>['params'],
    id: string = randomUUID(),
  ): Promise<Record<string, unknown>> {
    const pending = Promise.withResolvers<Record<string, unknown>>()
    if (this.#closed) {
      pending.reject(new LinkClosedError('the link is closed'))
      return pending.promise
    }
    this.#pending.set(id, pending)
    if (this.#pending.size > MAX_PENDING) this.#lose(new LinkClosedError('the agent does not answer'))
    // The three fields are checked one by one above; TypeScript cannot see that together they are one member of the union.
    this.#send({ id, method, params } as AgentRequest)
    return pending.promise
  }

  listen(listener: AgentListener): void {
    this.#listener = listener
  }

  execute(executionId: string, code: string): boolean {
    this.#send({ id: executionId, method: 'execute', params: { code } })
    return this.#stream !== undefined && this.#stream.writableLength === 0
  }

  holdBack(isHeld: boolean): void {
    this.#isHeld = isHeld
    this.#acknowledge()
  }

  close(): void {
    this.#finish(new LinkClosedError('the link was closed'))
  }

  #send(message: AgentRequest): void {
    this.#stream?.write(encodeJsonFrame(message))
    if (this.#stream && this.#stream.writableLength > MAX_UNREAD_BYTES)
      this.#lose(new LinkClosedError('the agent does not read'))
  }

  #receive(decoder: FrameDecoder, chunk: Buffer): void {
    try {
      for (const frame of decoder.push(chunk)) {
        if (this.#closed) return
        this.#take(frame)
      }
    } catch (cause) {
      this.#lose(new LinkClosedError(`the agent broke the protocol: ${describe(cause)}`, { cause }))
      return
    }
    this.#acknowledge()
  }

  #acknowledge(): void {
    if (this.#isHeld || this.#unackedBytes < ACK_EVERY_BYTES) return
    this.#unackedBytes = 0
    this.#send({ method: 'ack', params: { seq: this.#lastSeq } })
  }

  #take(frame: Frame): void {
    if (frame.kind === 'bytes') return
    const message = parseMessage(frame.json)
    if (message.type === 'attached') {
      if (this.#isAdopting) this.#lastSeq = message.first - 1
      this.#attaching?.resolve(message)
      this.#attaching = undefined
      return
    }
    this.#unackedBytes += frame.sizeBytes
    if (message.seq !== this.#lastSeq + 1)
      throw new FrameError(`event ${message.seq} came after event ${this.#lastSeq}`)
    this.#lastSeq = message.seq
    this.#fruitless = 0
    const pending = message.type === 'reply' || message.type === 'fail' ? this.#settle(message.id) : undefined
    if (message.type === 'reply') pending?.resolve(message.result)
    else if (message.type === 'fail' && pending)
      pending.reject(new AgentRefusal(message.code, message.message))
    else this.#listener.onEvent(message)
    if (this.#caughtUp && this.#lastSeq >= this.#caughtUp.until) this.#caughtUp.reached.resolve()
  }

  /** Resolves when the event of this number has been read; rejects when the link is lost first. */
  async #reach(until: number): Promise<void> {
    if (this.#lastSeq >= until) return
    const reached = Promise.withResolvers<void>()
    this.#caughtUp = { until, reached }
    await reached.promise
    this.#caughtUp = undefined
  }

  #settle(id: string | null): PromiseWithResolvers<Record<string, unknown>> | undefined {
    if (id === null) return undefined
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }

  #streamClosed(stream: Duplex): void {
    if (this.#closed || this.#stream !== stream) return
    this.#stream = undefined
    const opening = this.#attaching !== undefined
    this.#rejectPending(new LinkClosedError('the connection to the agent broke'))
    if (!opening) void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    while (!this.#closed && this.#fruitless++ < MAX_FRUITLESS_CONNECTIONS) {
      try {
        await this.open()
        return
      } catch {
        // The next try, or the loss below, tells.
      }
    }
    this.#lose(new LinkClosedError('the agent cannot be reached any more'))
  }

  #lose(error: LinkClosedError): void {
    if (this.#closed) return
    this.#finish(error)
    this.#listener.onLost(error)
  }

  #finish(error: LinkClosedError): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream?.destroy()
    this.#rejectPending(error)
  }

  #rejectPending(error: LinkClosedError): void {
    this.#attaching?.reject(error)
    this.#attaching = undefined
    this.#caughtUp?.reached.reject(error)
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
  }
}

function parseMessage(json: unknown): AgentMessage {
  const parsed = agentMessageSchema.safeParse(json)
  if (!parsed.success)
    throw new FrameError(`an invalid message: ${parsed.error.issues[0]?.message ?? 'unknown'}`)
  const message = parsed.data
  if (
    (message.type === 'display_data' || message.type === 'execute_result') &&
    isDeeperThan(message.data, MAX_DEPTH)
  ) {
    throw new FrameError(`a MIME bundle nested deeper than ${MAX_DEPTH}`)
  }
  return message
}

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((inner) => isDeeperThan(inner, depth - 1))
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
