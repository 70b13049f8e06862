import type {
  Completion,
  EndReason,
  Inspection,
  KernelInfo,
  Question,
  RunCode,
  SessionEvent,
} from '@cob/protocol'
import type { Backend, Sandbox } from '../backend/backend.ts'
import { CobError } from '../errors.ts'
import type { Lang } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import type { ObservedSession, Observer } from '../observe/observer.ts'
import type { ExecutionRecord, SessionRecord, SessionStore } from '../store/session-store.ts'
import type { Figures } from './accounting.ts'
import { createDeadline } from './deadline.ts'
import { escalate } from './escalation.ts'
import type { Execution } from './execution.ts'
import { createExecutions, type Executions } from './executions.ts'
import { createFiles, type Files } from './files.ts'
import type { Held } from './holdings.ts'
import { createInterpreter, type Interpreter, type InterpreterOutput } from './interpreter.ts'
import type { SessionLimits } from './limits.ts'
import { fromMachineTime, toMachineTime } from './machine-clock.ts'
import { toOutputBytes } from './output-size.ts'
import { type Recovery, recover } from './recovery.ts'
import { createSessionRecords, type DueUse, type SessionRecords } from './session-records.ts'
import { canBecome, isEnding, type SessionState } from './state.ts'
import { createTerminals, type OpenTerminal } from './terminals.ts'
import { type Ending, goneError } from './tombstones.ts'
import { complete, inspect } from './typed-code.ts'
import type { Candidate } from './warm-pool.ts'
import { createWatchers, type Watchers } from './watchers.ts'

export interface SessionOptions {
  readonly id: string
  readonly token: string
  readonly lang: Lang
  readonly limits: SessionLimits
  /** The sandbox it is to have. */
  readonly take: () => Candidate
  readonly environ: Readonly<Record<string, string>>
  readonly processes: number
  readonly maxQueued: number
  readonly maxUploadBytes: number
  /** What its owner may make the server keep. */
  readonly held: Held
  /** Where it is kept for another server; undefined where none can have it. */
  readonly store: SessionStore | undefined
  /** What its record has besides. */
  readonly recordAs: Pick<SessionRecord, 'owner' | 'bootId'>
  readonly backend: Backend
  readonly observer: Observer
  readonly logger: Logger
  /** Called once, when the session begins to end and before anything waits for it. */
  readonly onEnding: (ending: Ending, executions: readonly Execution[], figures: Figures) => void
  /** Called once, with what it used up to its end. */
  readonly onEnded: (ending: Ending, figures: Figures) => void
  /** Throws when its owner may run no more code. */
  readonly checkCpu: () => void
}

const CPU_WEIGHT = 100
const FRESH_MS = 1000

/** One kernel session: its sandbox, its state and its executions. All times are monotonic ms. */
export class Session {
  readonly id: string
  readonly token: string
  readonly lang: Lang
  readonly limits: SessionLimits
  readonly files: Files
  readonly openTerminal: OpenTerminal
  /** Resolves when the session has ended and its sandbox is gone, or could not be removed. */
  readonly gone: Promise<void>
  readonly #gone = Promise.withResolvers<void>()
  readonly #options: SessionOptions
  readonly #logger: Logger
  readonly #observer: Observer
  readonly #observed: ObservedSession
  readonly #executions: Executions
  readonly #watchers: Watchers
  readonly #interpreter: Interpreter
  readonly #records: SessionRecords
  #createdAt = performance.now()
  readonly #queryDeadline: ReturnType<typeof createDeadline>
  #lastOutputAt = this.#createdAt
  #lastQueryAt = this.#createdAt
  #sampledAt = Number.NEGATIVE_INFINITY
  #outputBytes = 0
  #state: SessionState = 'starting'
  #restarting: Promise<void> | undefined
  #ending: Promise<void> | undefined
  #ended: Ending | undefined

  constructor(options: SessionOptions) {
    this.id = options.id
    this.token = options.token
    this.lang = options.lang
    this.limits = options.limits
    this.#options = options
    this.#logger = options.logger.child({ kernelId: options.id })
    this.#observer = options.observer
    this.#observed = { kernelId: options.id, lang: options.lang.manifest.lang }
    this.#executions = createExecutions({
      maxQueued: options.maxQueued,
      held: options.held,
      onPressure: (isPressing) => this.#interpreter.holdBack(isPressing),
      onEnd: (execution) => this.#observer.executed(this.#observed, execution, execution.outcome),
      onRecord: (execution) => this.#records.putLater(execution),
    })
    this.gone = this.#gone.promise
    this.#interpreter = createInterpreter({
      backend: options.backend,
      take: options.take,
      limits: {
        memoryBytes: options.limits.memoryKb * 1024,
        processes: options.processes,
        cpuWeight: CPU_WEIGHT,
      },
      environ: options.environ,
      logger: this.#logger,
      onFault: (fault) => this.#observer.agentFailed(this.#observed.lang, fault),
      onOutput: (event) => this.#onOutput(event),
      onDeath: (reason) => this.#endSoon(reason),
    })
    this.#records = createSessionRecords({
      kernelId: options.id,
      store: options.store,
      logger: this.#logger,
    })
    this.#watchers = createWatchers(options.id)
    const connection = {
      kernelId: options.id,
      openStream: () => this.#interpreter.openStream(),
      onUse: () => this.touch(),
    }
    this.openTerminal = createTerminals(connection)
    this.files = createFiles({
      ...connection,
      maxUploadBytes: options.maxUploadBytes,
      memoryBytes: options.limits.memoryKb * 1024,
      freeMemory: () => this.#interpreter.freeMemory(),
      goneError: () => (isEnding(this.#state) ? this.#goneError() : undefined),
    })
    this.#queryDeadline = createDeadline(() => this.#endSoon('query-timeout'))
  }

  get state(): SessionState {
    return this.#state
  }

  /** Another server would find it. */
  get isRecorded(): boolean {
    return this.#records.hasBegun
  }

  /** Makes the sandbox and waits for the interpreter. Whatever fails, nothing is left behind. */
  async start(): Promise<void> {
    this.#observer.creating(this.#observed)
    try {
      await this.#interpreter.start()
      this.#throwIfEnding()
      this.#record()
      this.#become('idle')
      const durationMs = performance.now() - this.#createdAt
      this.#observer.created(this.#observed, { isWarm: this.#interpreter.isWarm, durationMs })
    } catch (cause) {
      const wasAsked = isEnding(this.#state)
      await this.end('crashed')
      throw wasAsked ? this.#goneError() : cause
    }
  }

  /**
   * Takes the sandbox of a session that another server had, and goes on where it is. Never rejects: one that cannot be had, or that ended
   * meanwhile, ends with the reason, and nothing is left of it.
   */
  async adopt(record: SessionRecord, executions: readonly ExecutionRecord[]): Promise<void> {
    this.#createdAt = fromMachineTime(record.bornAt)
    const usedAt = fromMachineTime(record.usedAt)
    this.#records.resume(usedAt)
    const oomKills = executions.findLast(({ startedAt }) => startedAt !== null)?.oomKills ?? 0
    let isAdopted = false
    try {
      await this.#interpreter.adopt(record.sandbox, oomKills, (attached, events) => {
        isAdopted = true
        const recovery = recover(executions, attached, events)
        this.#lastOutputAt = Math.max(this.#createdAt, performance.now() - attached.quietMs)
        this.#lastQueryAt = Math.max(
          usedAt,
          ...executions.map(({ acceptedAt }) => fromMachineTime(acceptedAt)),
          recovery.isAtRest ? this.#lastOutputAt : this.#createdAt,
        )
        this.#takeUp(recovery, attached.asking, attached.quietMs)
      })
      if (!isAdopted) await this.#gone.promise
    } catch (err) {
      this.#logger.warn({ err }, 'A session of an earlier server could not be adopted.')
      await this.end('server-shutdown').catch((error) =>
        this.#logger.error({ err: error }, 'The sandbox could not be removed.'),
      )
    }
  }

  #takeUp(recovery: Recovery, asking: boolean, quietMs: number): void {
    this.#executions.restore(recovery, asking, quietMs)
    this.#become('idle')
    const { current } = this.#executions
    if (current) {
      this.#become('busy')
      this.#queryDeadline.start(this.limits.queryTimeoutMs - current.ranMs)
      if (asking) {
        this.#queryDeadline.pause()
        this.#become('waiting-input')
      }
    }
    if (recovery.isBroken) this.#endSoon('crashed')
    else if (recovery.needsRestart)
      this.#restartOnce(false).catch((err) => this.#logger.error({ err }, 'The kernel did not restart.'))
    else if (!current) this.#runNext(this.#lastQueryAt)
  }

  /** Whoever waits is told that this server ends, and goes on at another one. */
  leave(): void {
    this.#executions.leave()
  }

  /** Lets go of the sandbox; see `Interpreter.release`. */
  release(): Sandbox | undefined {
    if (isEnding(this.#state) || this.#state === 'starting') return undefined
    this.#queryDeadline.stop()
    return this.#interpreter.release()
  }

  /** What is to be recorded of its use, if that is another time than was. */
  dueUse(): DueUse | undefined {
    return isEnding(this.#state) ? undefined : this.#records.dueUse(this.#lastQueryAt)
  }

  /**
   * What a `POST` of code means in the state at hand: the input a question waits for, the fetching of an
   * execution under way, or a new execution.
   */
  submit({ code, codeId }: RunCode): Execution {
    this.#throwIfEnding()
    const current = this.#executions.current
    const known = codeId === undefined ? undefined : this.#executions.find(codeId)
    if (current?.awaitsAnnouncedInput && (known === undefined || known === current)) {
      this.#supplyInput(current, code)
      return current
    }
    if (known) {
      if (code !== '') throw CobError.of('code-id-in-use', { codeId: known.codeId })
      return known
    }
    const late = this.#executions.ended().at(-1)
    if (!current && codeId === undefined && late?.endedAsking) return late
    if (code === '' && codeId !== undefined) throw CobError.of('no-such-execution', { id: this.id, codeId })
    this.#options.checkCpu()
    const execution = this.#executions.add(this.id, code, codeId)
    try {
      if (this.#state === 'idle') this.#runNext()
      else this.#records.put(execution)
    } catch (cause) {
      this.#executions.retract(execution)
      throw cause
    }
    this.#observer.submitted(this.#observed, execution)
    this.#records.dropOld(execution.count, () => this.#executions.firstKept)
    return execution
  }

  /** One of the last executions, by its id or codeId. Throws `no-such-execution`. */
  execution(codeId: string): Execution {
    const execution = this.#executions.recall(codeId)
    if (!execution) throw CobError.of('no-such-execution', { id: this.id, codeId })
    return execution
  }

  /**
   * Raises KeyboardInterrupt or its like in the running code, or in `codeId` alone; one that waits will not run. Resolves when the
   * signal is on its way. Code that goes on is interrupted once more; if that has no effect either, the interpreter is restarted. Throws
   * `nothing-runs`.
   */
  async interrupt(codeId?: string): Promise<void> {
    this.#throwIfEnding()
    const { current } = this.#executions
    const execution = codeId === undefined ? current : this.execution(codeId)
    if (execution && this.#executions.cancel(execution)) return
    if (!current || execution !== current) throw CobError.of('nothing-runs', { id: this.id })
    // What comes next is no answer to what was asked before.
    if (this.#state === 'waiting-input') this.#stopWaiting(current)
    await this.#interpreter.interrupt(current.id)
    escalate(current, {
      isOver: () => isEnding(this.#state),
      interrupt: () => this.#interpreter.interrupt(current.id),
      restart: () => {
        this.#logger.warn({ executionId: current.id }, 'Code ignores interrupts; the kernel is restarted.')
        this.restart().catch((err) => this.#logger.error({ err }, 'The kernel did not restart.'))
      },
    })
  }

  /** Supplies what the running code, or `codeId`, asks for. Throws `not-waiting`. */
  input(text: string, codeId?: string): void {
    this.#throwIfEnding()
    const { current } = this.#executions
    const execution = codeId === undefined ? current : this.execution(codeId)
    if (!current || execution !== current || this.#state !== 'waiting-input')
      throw CobError.of('not-waiting', { id: this.id })
    this.#supplyInput(current, text)
  }

  /** What could stand at the cursor. Throws `kernel-busy` and `feature-missing`. */
  complete(question: Question): Promise<Completion> {
    return complete(question, (...typed) => this.#ask('complete', ...typed))
  }

  /** What is known of what stands at the cursor. Throws as `complete`. */
  inspect(question: Question): Promise<Inspection> {
    return inspect(question, (...typed) => this.#ask('inspect', ...typed))
  }

  /** It is in use: its idle time starts anew. */
  touch(): void {
    this.#lastQueryAt = performance.now()
  }

  /** Tells what becomes of it, first that it has started; returns how to stop that. Throws `too-many-watchers`. */
  watch(watcher: (event: SessionEvent) => void): () => void {
    this.#throwIfEnding()
    const stop = this.#watchers.add(watcher)
    watcher({ name: 'started' })
    return stop
  }

  /** Resolves when a new interpreter answers. Concurrent calls share one restart. */
  restart(): Promise<void> {
    this.#throwIfEnding()
    return this.#restartOnce(true)
  }

  #restartOnce(ofAll: boolean): Promise<void> {
    this.#restarting ??= this.#restart(ofAll).finally(() => {
      this.#restarting = undefined
    })
    return this.#restarting
  }

  /** Ends the session; the first reason counts. Resolves when nothing of it runs. */
  end(reason: EndReason): Promise<void> {
    this.#ending ??= this.#end(reason)
    return this.#ending
  }

  /** Of now; what the operating system measures, of a second ago at most. Rejects with `kernel-gone`. */
  async info(): Promise<KernelInfo> {
    if (performance.now() - this.#sampledAt > FRESH_MS) await this.sample()
    const now = performance.now()
    const { lang, limits } = this
    const { usage, isolation } = this.#interpreter
    if (!isolation) throw this.#goneError()
    return {
      lang: lang.manifest.lang,
      age: Math.floor(now - this.#createdAt),
      idle: Math.floor(now - this.#lastOutputAt),
      queryTimeout: limits.queryTimeoutMs,
      idleTimeout: limits.idleTimeoutMs,
      maxCpuCredit: limits.maxCpuCreditMs,
      numQueriesExecuted: this.#executions.accepted,
      memoryUsed: Math.ceil(usage.memoryBytes / 1024),
      cpuCreditUsed: Math.floor(usage.cpuMs),
      kernelId: this.id,
      clientSessionToken: this.token,
      status: this.#publicStatus(),
      maxMem: limits.memoryKb,
      isolation,
    }
  }

  /** CPU time of all its processes, as of when it was last read. */
  get cpuMs(): number {
    return this.#interpreter.usage.cpuMs
  }

  /** Something ran in it since its usage was last read. */
  get isActive(): boolean {
    return this.#state !== 'idle' || Math.max(this.#lastQueryAt, this.#lastOutputAt) > this.#sampledAt
  }

  /** Reads the usage from the operating system; ends the session if its CPU credit is gone, or more memory than it may have. */
  async sample(): Promise<void> {
    if (isEnding(this.#state)) return
    this.#sampledAt = performance.now()
    const { cpuMs, memoryBytes, isOverLimit, isUnlimited } = await this.#interpreter.sample()
    const { maxCpuCreditMs, memoryKb } = this.limits
    this.#watchers.warn('memory', memoryBytes, memoryKb * 1024)
    if (maxCpuCreditMs > 0) this.#watchers.warn('cpu-credit', cpuMs, maxCpuCreditMs)
    if (isOverLimit) this.#endSoon('out-of-memory')
    if (isUnlimited) {
      this.#logger.error({}, 'Nothing holds the sandbox to its limits any more: its cgroup was removed.')
      this.#endSoon('crashed')
    }
    if (maxCpuCreditMs > 0 && cpuMs >= maxCpuCreditMs) this.#endSoon('cpu-credit-exhausted')
  }

  /** Ends the session if no query came for its idle timeout. */
  checkIdle(): void {
    const mayIdleOut = this.#state === 'idle' || this.#state === 'waiting-input'
    if (mayIdleOut && performance.now() - this.#lastQueryAt >= this.limits.idleTimeoutMs)
      this.#endSoon('idle-timeout')
  }

  /** Drops what nobody asked for in a while. */
  sweep(): void {
    this.#executions.sweep()
    this.#records.sweep()
  }

  async #ask(method: 'complete' | 'inspect', code: string, cursor: number): Promise<unknown> {
    this.#throwIfEnding()
    const { lang, features } = this.lang.manifest
    if (!features.includes(method)) throw CobError.of('feature-missing', { lang, feature: method })
    if (this.#state !== 'idle') throw CobError.of('kernel-busy', { id: this.id, state: this.#state })
    this.#lastQueryAt = performance.now()
    const answer = await this.#interpreter.ask(method, code, cursor)
    this.#throwIfEnding()
    return answer
  }

  /** Throws `not-recorded`, where the next one had not been accepted before. */
  #runNext(at: number = performance.now()): void {
    this.#lastQueryAt = at
    if (this.#state !== 'idle') return
    const next = this.#executions.startNext(this.#interpreter.usage.oomKills)
    if (!next) return
    // One that waited has a record. Should this process end before the agent has it, it waits again.
    if (!next.isRecorded) {
      next.handedOver(true)
      this.#records.put(next)
    }
    this.#become('busy')
    this.#queryDeadline.start(this.limits.queryTimeoutMs)
    const isWithAgent = this.#interpreter.execute(next.id, next.code)
    if (next.handedOver(isWithAgent)) this.#records.putLater(next)
  }

  #stopWaiting(execution: Execution): void {
    execution.inputSupplied()
    this.#records.putLater(execution)
    this.#lastQueryAt = performance.now()
    this.#become('busy')
    this.#queryDeadline.resume()
  }

  #supplyInput(execution: Execution, text: string): void {
    this.#stopWaiting(execution)
    this.#interpreter.supplyInput(execution.id, text)
  }

  #record(): void {
    const sandbox = this.#interpreter.describe()
    if (sandbox === undefined) return
    this.#records.begin({
      ...this.#options.recordAs,
      token: this.token,
      lang: this.lang.manifest.lang,
      limits: this.limits,
      createdAt: Date.now(),
      bornAt: toMachineTime(this.#createdAt),
      sandbox,
    })
  }

  #onOutput(event: InterpreterOutput): void {
    if (isEnding(this.#state)) return
    this.#lastOutputAt = performance.now()
    const current = this.#executions.current
    if (event.id === null && event.type === 'stream') {
      this.#outputBytes += toOutputBytes(event)
      this.#executions.streamUnowned(event)
    }
    if (!current || event.id !== current.id) return
    switch (event.type) {
      case 'input_request':
        this.#awaitInput(current, event.prompt, event.password)
        break
      case 'execute_reply':
        this.#queryDeadline.stop()
        this.#executions.finishCurrent(event)
        if (current.handedOver(true)) this.#records.putLater(current)
        this.#become('idle')
        this.#runNext()
        break
      case 'fail':
        this.#logger.error({ code: event.code, message: event.message }, 'The agent refused an execution.')
        this.#observer.agentFailed(this.#observed.lang, 'refused')
        this.#endSoon('crashed')
        break
      default:
        this.#outputBytes += toOutputBytes(event)
        current.add(event)
    }
  }

  #awaitInput(execution: Execution, prompt: string, password: boolean): void {
    // Another thread of the code may ask while one does.
    if (this.#state === 'busy') {
      this.#queryDeadline.pause()
      this.#become('waiting-input')
    }
    this.#lastQueryAt = performance.now()
    execution.requestInput(prompt, password)
  }

  async #restart(ofAll: boolean): Promise<void> {
    if (!canBecome(this.#state, 'restarting')) throw this.#goneError()
    this.#queryDeadline.stop()
    this.#become('restarting')
    this.#executions.endByRestart(ofAll)
    try {
      await this.#interpreter.restart()
    } catch (cause) {
      // Whoever ends the session meanwhile takes the link away.
      if (!isEnding(this.#state)) {
        this.#logger.error({ err: cause }, 'The kernel did not restart.')
        this.#observer.agentFailed(this.#observed.lang, 'restart')
      }
      await this.end('crashed')
    }
    this.#throwIfEnding()
    this.#lastOutputAt = performance.now()
    this.#lastQueryAt = this.#lastOutputAt
    this.#executions.dropUnowned()
    this.#become('idle')
    this.#watchers.tell({ name: 'restarted' })
    this.#runNext()
  }

  async #end(reason: EndReason): Promise<void> {
    const ending = { reason, at: Date.now() }
    this.#ended = ending
    this.#become('terminating', reason)
    this.#queryDeadline.stop()
    this.#executions.endAll({ status: 'terminated', reason })
    try {
      this.#options.onEnding(ending, this.#executions.ended(), this.#figures())
      this.#observer.ended(this.#observed, reason)
      this.#watchers.tell({ name: 'terminated', reason })
      await this.#interpreter
        .sample()
        .catch((err) => this.#logger.warn({ err }, 'The last usage could not be read.'))
      this.#options.onEnded(ending, this.#figures(await this.#interpreter.peakMemory().catch(() => 0)))
    } finally {
      await this.#interpreter.destroy().finally(() => {
        this.#become('terminated', reason)
        this.#gone.resolve()
      })
    }
  }

  #figures(peakMemoryBytes = 0): Figures {
    const { cpuMs, memoryBytes } = this.#interpreter.usage
    return {
      cpuMs,
      peakMemoryBytes: Math.max(peakMemoryBytes, memoryBytes),
      executions: this.#executions.accepted,
      outputBytes: this.#outputBytes,
    }
  }

  /** For ends nobody waits for. */
  #endSoon(reason: EndReason): void {
    this.end(reason).catch((err) => this.#logger.error({ err }, 'The sandbox could not be removed.'))
  }

  /** The only place where the state changes. */
  #become(state: SessionState, reason?: EndReason): void {
    if (!canBecome(this.#state, state)) throw new Error(`a ${this.#state} session cannot become ${state}`)
    this.#logger.debug({ from: this.#state, to: state, reason }, 'Session changed state.')
    this.#state = state
  }

  #publicStatus(): KernelInfo['status'] {
    switch (this.#state) {
      case 'idle':
      case 'busy':
      case 'waiting-input':
      case 'restarting':
        return this.#state
      default:
        throw this.#goneError()
    }
  }

  #goneError(): CobError {
    return goneError(this.id, this.#ended)
  }

  #throwIfEnding(): void {
    if (isEnding(this.#state)) throw this.#goneError()
  }
}
