import { randomUUID } from 'node:crypto'
import type { EndReason, RunResult } from '@cob/protocol'
import type { Held } from './holdings.ts'
import { copy, createOutput, type Output } from './output.ts'

export type ExecutionEnd =
  | { readonly status: 'finished' | 'interrupted' }
  | { readonly status: 'terminated'; readonly reason: EndReason | 'restarted' }

/** Code up to this length counts as nothing, so that small things run however much others hold. */
const SMALL_CODE = 16_384
/** Characters of a prompt that are kept. */
const MAX_PROMPT = 65_536

/** Characters that an execution of this code holds until it has ended. */
export function toHeldCharacters(code: string): number {
  return code.length > SMALL_CODE ? code.length : 0
}

/**
 * One piece of code on its way through a kernel: queued, running, perhaps waiting for input, ended.
 * Keeps what it has put out until somebody fetches it.
 */
export class Execution {
  readonly id: string = randomUUID()
  readonly codeId: string
  readonly count: number
  readonly output: Output
  readonly #held: Held
  #code: string
  #startedAt: number | undefined
  #endedAt: number | undefined
  #end: ExecutionEnd | undefined
  #input: { readonly prompt: string; readonly password: boolean } | undefined
  #inputAnnounced = false
  #changed = Promise.withResolvers<void>()

  /** `held` has taken the code's characters. */
  constructor(code: string, codeId: string | undefined, count: number, held: Held) {
    this.#code = code
    this.codeId = codeId ?? this.id
    this.count = count
    this.#held = held
    this.output = createOutput(held)
  }

  /** Empty once it has ended. */
  get code(): string {
    return this.#code
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  /** True once an answer told a client that the code waits for input: what comes next is that input. */
  get awaitsAnnouncedInput(): boolean {
    return this.#input !== undefined && this.#inputAnnounced
  }

  isCalled(codeId: string): boolean {
    return this.codeId === codeId || this.id === codeId
  }

  start(): void {
    this.#startedAt = performance.now()
  }

  requestInput(prompt: string, password: boolean): void {
    this.#input = {
      prompt: prompt.length <= MAX_PROMPT ? prompt : copy(prompt.slice(0, MAX_PROMPT)),
      password,
    }
    this.#inputAnnounced = false
    this.#wake()
  }

  inputSupplied(): void {
    this.#input = undefined
  }

  end(end: ExecutionEnd): void {
    if (this.#end) return
    this.#end = end
    this.#endedAt = performance.now()
    this.#input = undefined
    this.#held.give(toHeldCharacters(this.#code))
    this.#code = ''
    this.#wake()
  }

  /**
   * Resolves when there is something to answer: the end, a question nobody has seen yet, or `waitMs` gone
   * by. Rejects with the signal's reason when it aborts; the execution goes on.
   */
  async settled(waitMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    const waitUntil = waitMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + waitMs
    while (!this.ended && (this.#input === undefined || this.#inputAnnounced)) {
      const leftMs = waitUntil - performance.now()
      if (leftMs <= 0) return
      await wait(this.#changed.promise, leftMs, signal)
    }
  }

  /** The answer for now; what it contains is not answered again, and counts as held until it is `sent`. */
  answer(sent: Promise<void> = Promise.resolve()): RunResult {
    const now = performance.now()
    if (this.#input) this.#inputAnnounced = true
    const { characters } = this.output
    void sent.finally(() => this.#held.give(characters))
    return {
      ...this.#outcome(),
      ...this.output.take(),
      executionId: this.id,
      executionCount: this.count,
      durationMs:
        this.#startedAt === undefined
          ? 0
          : Math.round(((this.#endedAt ?? now) - this.#startedAt) * 1000) / 1000,
    }
  }

  #outcome(): Pick<RunResult, 'status' | 'reason' | 'options'> {
    if (this.#end) return this.#end
    if (this.#input === undefined) return { status: 'continued' }
    return {
      status: 'waiting-input',
      options: { prompt: this.#input.prompt, isPassword: this.#input.password },
    }
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}

const MAX_TIMER_MS = 2 ** 31 - 1

/** Waits for the event, at most `ms`, and not after the signal. */
async function wait(event: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>()
  const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.min(Math.ceil(ms), MAX_TIMER_MS)) : undefined
  const abort = (): void => reject(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([event, stopped])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
