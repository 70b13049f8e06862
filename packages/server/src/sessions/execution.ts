import { randomUUID } from 'node:crypto'
import type { EndReason, RunResult } from '@cob/protocol'
import { CobError } from '../errors.ts'
import type { ExecutionRecord } from '../store/session-store.ts'
import { Asking } from './asking.ts'
import { createEventLog, type EventLog, type LogReader, type NewEvent } from './event-log.ts'
import type { Held } from './holdings.ts'
import { toLogged, toOutput } from './logged-output.ts'
import { fromMachineTime, toMachineTime } from './machine-clock.ts'
import { createOutput, type Output, type OutputEvent } from './output.ts'
import type { ExecuteReply, ExecutionOutput, Recovered } from './recovery.ts'
import { wait } from './wait.ts'

type Changed = Pick<RunResult, 'files' | 'moreFiles'>
export type ExecutionEnd =
  | ({ readonly status: 'finished' | 'interrupted' } & Changed)
  | { readonly status: 'terminated'; readonly reason: EndReason | 'restarted' }

/** What is kept of the events of an execution that ended a while ago. */
const OLD_EVENTS = 16_384
/** How long all of them are kept after the end. */
const KEEP_EVENTS_MS = 60_000

export interface ExecutionOptions {
  readonly count: number
  /** Has taken the code's characters. */
  readonly held: Held
  /** True: who reads the events does not keep up. */
  readonly onPressure: (isPressing: boolean) => void
  /** Its record is another one now, and is to be kept before what follows. */
  readonly onRecord: (execution: Execution) => void
  /** Of one that there was at another server. */
  readonly id?: string
}

/** What is printed while nothing runs. */
export type Unowned = Readonly<Record<'stdout' | 'stderr', string>>
const STREAM_NAMES = ['stdout', 'stderr'] as const

/** Code up to this length counts as nothing, so that small things run however much others hold. */
const SMALL_CODE = 16_384

/** Characters that an execution of this code holds until it has ended. */
export function toHeldCharacters(code: string): number {
  return code.length > SMALL_CODE ? code.length : 0
}

/**
 * One piece of code on its way through a kernel: queued, running, perhaps waiting for input, ended.
 * Keeps what it has put out until somebody fetches it.
 */
export class Execution {
  readonly id: string
  readonly codeId: string
  readonly count: number
  /** It has a record already. */
  isRecorded = false
  readonly #output: Output
  readonly #log: EventLog
  readonly #held: Held
  readonly #onRecord: ExecutionOptions['onRecord']
  #code: string
  /** Its record has the code too. */
  #keepsCode = true
  #acceptedAt = performance.now()
  #startedAt: number | undefined
  #endedAt: number | undefined
  #end: ExecutionEnd | undefined
  readonly #asking = new Asking()
  #endedAsking = false
  #isHeldBack = false
  #fetched = false
  /** Somebody asked for the result as one answer. */
  #answerWanted = false
  #unowned: Unowned | null = null
  #oomKills = 0
  /** The number of an event; see `ExecutionRecord`. */
  #answered = 0
  #endedBy: ExecutionRecord['end'] = null
  /** Of one that ended while no server was there, or another. */
  #durationFromAgent: number | undefined
  #isLeft = false
  #changed = Promise.withResolvers<void>()

  constructor(
    code: string,
    codeId: string | undefined,
    { count, held, onPressure, onRecord, id }: ExecutionOptions,
  ) {
    this.#code = code
    this.id = id ?? randomUUID()
    this.codeId = codeId ?? this.id
    this.count = count
    this.#held = held
    this.#onRecord = onRecord
    this.#output = createOutput(held)
    this.#log = createEventLog({
      held,
      onPressure: (isPressing) => {
        this.#isHeldBack = isPressing
        onPressure(isPressing)
      },
    })
  }

  /** Empty once it has ended. */
  get code(): string {
    return this.#code
  }

  /** How it ended, or the reason why it was ended; `running` before. */
  get outcome(): string {
    if (!this.#end) return 'running'
    return this.#end.status === 'terminated' ? this.#end.reason : this.#end.status
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  /** True once an answer told a client that the code waits for input: what comes next is that input. */
  get awaitsAnnouncedInput(): boolean {
    return this.#asking.isAnnounced
  }

  /**
   * True when it ended although an answer had told a client that it waits for input: what comes next is that input, too late, and must
   * not run as code. Until its end is fetched.
   */
  get endedAsking(): boolean {
    return this.#endedAsking && !this.#fetched
  }

  /** True while the code has to wait for one who reads its events. */
  get isHeldBack(): boolean {
    return this.#isHeldBack
  }

  /** Characters that it keeps for whoever asks. */
  get characters(): number {
    return this.#output.characters + this.#log.characters
  }

  /** True once its end and its last output have been answered, or read as events. */
  get fetched(): boolean {
    return this.#fetched
  }

  isCalled(codeId: string): boolean {
    return this.codeId === codeId || this.id === codeId
  }

  /** What stands in front of its output; null for nothing. */
  get unowned(): Unowned | null {
    return this.#unowned
  }

  /** `unowned` stands in front of its output. */
  start({ unowned, oomKills }: { readonly unowned: Unowned; readonly oomKills: number }): void {
    this.#startedAt = performance.now()
    this.#oomKills = oomKills
    if (STREAM_NAMES.some((name) => unowned[name] !== '')) this.#unowned = unowned
    this.#open()
  }

  #open(): void {
    this.#log.append({ type: 'started', executionId: this.id, count: this.count })
    for (const event of this.#front()) this.add(event)
  }

  #front(): OutputEvent[] {
    return STREAM_NAMES.map((name) => ({
      type: 'stream' as const,
      name,
      text: this.#unowned?.[name] ?? '',
    })).filter(({ text }) => text !== '')
  }

  /** True where its record has code that the agent has too, so that it must not any more; false: it must have it. */
  handedOver(isWithAgent: boolean): boolean {
    const isChange = this.#keepsCode === isWithAgent
    this.#keepsCode = !isWithAgent
    return isChange
  }

  /** How long its code has run, the time it waited for input left out. */
  get ranMs(): number {
    return this.#startedAt === undefined ? 0 : this.#asking.ranMs(this.#startedAt)
  }

  get acceptedAt(): number {
    return this.#acceptedAt
  }

  toRecord(kernelId: string): ExecutionRecord {
    return {
      kernelId,
      count: this.count,
      id: this.id,
      codeId: this.codeId,
      code: this.#keepsCode && !this.ended ? this.#code : null,
      acceptedAt: toMachineTime(this.#acceptedAt),
      startedAt: this.#startedAt === undefined ? null : toMachineTime(this.#startedAt),
      waitedMs: this.#asking.waitedMs,
      unowned: this.#unowned,
      oomKills: this.#oomKills,
      answered: this.#answered,
      asked: this.#asking.announced,
      fetched: this.#fetched,
      end: this.#endedBy,
    }
  }

  /** Takes up what another server and the agent kept of it. The last output was `quietMs` ago. */
  restore({ record, state, cut, events }: Recovered, asking: boolean, quietMs: number): void {
    this.#acceptedAt = fromMachineTime(record.acceptedAt)
    this.#oomKills = record.oomKills
    this.#unowned = record.unowned
    this.#answered = record.answered
    this.#asking.announced = record.asked
    this.#endedBy = record.end
    this.isRecorded = true
    if (state !== 'waiting') {
      this.#keepsCode = false
      this.#startedAt = record.startedAt === null ? performance.now() : fromMachineTime(record.startedAt)
      const firstId = 1 + (cut > 0 ? 1 + this.#front().length + cut : 0)
      this.#log.restore(firstId)
      if (this.#answered + 1 < firstId) this.#output.release()
      if (cut === 0) this.#open()
      for (const event of events) {
        if (record.end && this.#log.nextId >= record.end.event) break
        this.#replay(event)
      }
    }
    if (this.#asking.question && !(asking && state === 'running')) this.inputSupplied()
    this.#asking.restore(record.waitedMs, quietMs)
    this.#fetched = record.fetched
    const by = record.end?.by ?? (state === 'lost' ? 'restart' : undefined)
    if (by !== undefined) this.endBy(by)
  }

  #replay(event: ExecutionOutput): void {
    if (this.#asking.question && event.type !== 'input_request') this.inputSupplied()
    if (event.type === 'input_request') this.requestInput(event.prompt, event.password)
    else if (event.type === 'execute_reply') {
      this.#durationFromAgent = toMicros(event.durationMs)
      this.finish(event)
    } else this.add(event)
  }

  add(event: OutputEvent): void {
    if (this.#log.nextId > this.#answered) this.#output.add(event)
    this.#log.append(toLogged(event, this.count))
  }

  requestInput(prompt: string, password: boolean): void {
    const question = this.#asking.begin(prompt, password, this.#log.nextId)
    this.#log.append({ type: 'input-request', ...question })
    this.#wake()
  }

  inputSupplied(): void {
    this.#asking.answer(this.#log.nextId - 1)
  }

  /** The number of the last event before the latest input, 0 without one. */
  get answeredAfter(): number {
    return this.#asking.answeredAfter
  }

  /** Its code has come to an end by itself. */
  finish({ status, files, moreFiles }: ExecuteReply): void {
    this.end({
      status: status === 'interrupted' ? 'interrupted' : 'finished',
      ...(files && files.length > 0 && { files }),
      ...(moreFiles && { moreFiles: true }),
    })
  }

  /** Ends it in a way that its agent cannot tell another server. */
  endBy(by: 'interrupt' | 'restart'): void {
    this.#endedBy = { by, event: this.#log.nextId }
    this.end(by === 'interrupt' ? { status: 'interrupted' } : { status: 'terminated', reason: 'restarted' })
  }

  end(end: ExecutionEnd): void {
    if (this.#end) return
    this.#end = end
    this.#endedAt = performance.now()
    this.#endedAsking = end.status === 'finished' && this.awaitsAnnouncedInput
    this.#asking.drop()
    this.#held.give(toHeldCharacters(this.#code))
    this.#code = ''
    this.#log.append({ type: 'finished', ...end, durationMs: this.durationMs })
    this.#log.end()
    this.#wake()
  }

  /** Reads its events that follow number `after`; see `EventLog.open`. */
  read(after: number, onMore: () => void): LogReader {
    const reader = this.#log.open(after, onMore)
    return {
      take: (characters) => {
        const entries = reader.take(characters)
        const last = entries.at(-1)
        if (last && this.#asking.announce(last.id)) this.#onRecord(this)
        if (last?.type === 'finished' && !this.#answerWanted) {
          this.#forget()
          this.#noteFetched()
        }
        return entries
      },
      get state() {
        return reader.state
      },
      close: () => reader.close(),
    }
  }

  /** The numbers of the events that can be read, the second one being the next. */
  get events(): { firstId: number; nextId: number } {
    const { firstId, nextId } = this.#log
    return { firstId, nextId }
  }

  /** State, and output so far as far as it is kept; takes nothing away from any answer. */
  describe(): RunResult {
    const output = createOutput({ take: () => true, give: () => {} })
    for (const entry of this.#log.entries()) {
      // Written from a value of this type.
      const event = toOutput(JSON.parse(entry.toJson()) as NewEvent)
      if (event) output.add(event)
    }
    const part = output.take()
    if (this.#log.firstId > 1) part.truncated = true
    return { ...this.#outcome(), ...part, ...this.#identity() }
  }

  /** A name that its client gave it may be used again. One of ours is not used twice. */
  #noteFetched(): void {
    if (this.codeId !== this.id) this.#onRecord(this)
  }

  /** Whoever waits for it is told that this server ends; it goes on. */
  leave(): void {
    this.#isLeft = true
    this.#log.leave()
    this.#wake()
  }

  /** Drops what is kept of it. */
  release(): void {
    this.#forget()
    this.#log.shrink(0)
  }

  /** Drops what nobody will ask for a while after the end. */
  sweep(now: number): void {
    if (this.#endedAt !== undefined && now - this.#endedAt > KEEP_EVENTS_MS) this.#log.shrink(OLD_EVENTS)
  }

  #forget(): void {
    this.#fetched = true
    this.#output.release()
  }

  /**
   * Resolves when there is something to answer: the end, a question nobody has seen yet, or `waitMs` gone
   * by. Rejects with the signal's reason when it aborts, or with `shutting-down`; the execution goes on.
   */
  async settled(waitMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    this.#answerWanted = true
    const waitUntil = waitMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + waitMs
    while (!this.ended && (this.#asking.question === undefined || this.#asking.isAnnounced)) {
      const leftMs = waitUntil - performance.now()
      if (this.#isLeft) throw CobError.of('shutting-down', {})
      if (leftMs <= 0) return
      await wait(this.#changed.promise, leftMs, signal)
    }
  }

  /** The answer for now; what it contains is not answered again, and counts as held until it is `sent`. */
  answer(sent: Promise<void> = Promise.resolve()): RunResult {
    this.#answered = this.#log.nextId - 1
    this.#asking.announce(this.#answered)
    const isLast = this.ended && !this.#fetched
    if (this.ended) this.#fetched = true
    else this.#onRecord(this)
    const { characters } = this.#output
    void sent.finally(() => {
      this.#held.give(characters)
      // A client that did not get it asks again under the same name.
      if (isLast) this.#noteFetched()
    })
    return { ...this.#outcome(), ...this.#output.take(), ...this.#identity() }
  }

  #identity(): Pick<RunResult, 'executionId' | 'executionCount' | 'durationMs'> {
    return { executionId: this.id, executionCount: this.count, durationMs: this.durationMs }
  }

  /** ms since its start, or from there to its end; 0 if it never was started. */
  get durationMs(): number {
    if (this.#durationFromAgent !== undefined) return this.#durationFromAgent
    if (this.#startedAt === undefined) return 0
    return toMicros((this.#endedAt ?? performance.now()) - this.#startedAt)
  }

  #outcome(): Pick<RunResult, 'status' | 'reason' | 'options' | 'files' | 'moreFiles'> {
    if (this.#end) return this.#end
    const { question } = this.#asking
    if (!question) return { status: 'continued' }
    return {
      status: 'waiting-input',
      options: { prompt: question.prompt, isPassword: question.password },
    }
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}

/** ms to three places. */
function toMicros(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
