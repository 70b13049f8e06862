import type { EndReason, KernelInfo, RunCode, RunResult } from '@cob/protocol'
import type { Backend, Sandbox, Usage } from '../backend/backend.ts'
import {
  type AgentLink,
  type AgentOutput,
  createAgentLink,
  type LinkClosedError,
} from '../channel/agent-link.ts'
import { CobError } from '../errors.ts'
import type { Lang } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import { createDeadline } from './deadline.ts'
import type { Execution } from './execution.ts'
import { createExecutions, type Executions } from './executions.ts'
import type { SessionLimits } from './limits.ts'
import { canBecome, isEnding, type SessionState } from './state.ts'
import { type Ending, goneError } from './tombstones.ts'

export interface SessionOptions {
  readonly id: string
  readonly token: string
  readonly lang: Lang
  readonly limits: SessionLimits
  readonly environ: Readonly<Record<string, string>>
  readonly processes: number
  readonly maxQueued: number
  readonly backend: Backend
  readonly logger: Logger
  /** Called once, when the session begins to end and before anything waits for it. */
  readonly onEnding: (ending: Ending, unfetched: readonly Execution[]) => void
}

const CPU_WEIGHT = 100
/** How long a new interpreter may take to answer before a start or restart counts as failed. */
const START_TIMEOUT_MS = 30_000

/** One kernel session: its sandbox, its state and its executions. All times are monotonic ms. */
export class Session {
  readonly id: string
  readonly token: string
  readonly lang: Lang
  readonly limits: SessionLimits
  /** Resolves when the session has ended and its sandbox is gone, or could not be removed. */
  readonly gone: Promise<void>
  readonly #gone = Promise.withResolvers<void>()
  readonly #options: SessionOptions
  readonly #logger: Logger
  readonly #executions: Executions
  readonly #createdAt = performance.now()
  readonly #queryDeadline: ReturnType<typeof createDeadline>
  #lastOutputAt = this.#createdAt
  #lastQueryAt = this.#createdAt
  #state: SessionState = 'starting'
  #preparing: Promise<Sandbox> | undefined
  #sandbox: Sandbox | undefined
  #link: AgentLink | undefined
  #usage: Usage = { memoryBytes: 0, cpuMs: 0, oomKills: 0, processes: 0 }
  /** Kills for memory that a still living interpreter survived, so that they are not taken for a later death's reason. */
  #oomKillsSurvived = 0
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
    this.#executions = createExecutions(options.maxQueued)
    this.gone = this.#gone.promise
    this.#queryDeadline = createDeadline(() => this.#endSoon('query-timeout'))
  }

  get state(): SessionState {
    return this.#state
  }

  /** Makes the sandbox and waits for the interpreter. Whatever fails, nothing is left behind. */
  async start(): Promise<void> {
    const { backend, lang, environ } = this.#options
    try {
      this.#preparing = backend.prepare(lang.profile)
      const sandbox = await this.#preparing
      this.#sandbox = sandbox
      this.#throwIfEnding()
      await backend.assign(sandbox, {
        memoryBytes: this.limits.memoryKb * 1024,
        processes: this.#options.processes,
        cpuWeight: CPU_WEIGHT,
      })
      void sandbox.exited.then(() => this.#died())
      this.#throwIfEnding()
      const link = await createAgentLink({
        connect: () => backend.connect(sandbox),
        onEvent: (event) => this.#onEvent(event),
        onLost: (error) => this.#onLost(error),
      })
      this.#link = link
      this.#throwIfEnding()
      await withinStartTime(link.request('configure', { environ: { ...environ } }))
      this.#usage = await backend.usage(sandbox)
      this.#become('idle')
    } catch (cause) {
      const wasAsked = isEnding(this.#state)
      await this.end('crashed')
      throw wasAsked ? this.#goneError() : cause
    }
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
    if (code === '' && codeId !== undefined) throw CobError.of('no-such-execution', { id: this.id, codeId })
    const execution = this.#executions.add(this.id, code, codeId)
    this.#runNext()
    return execution
  }

  /** What there is to say of an execution now; one that has ended is not kept after this. */
  answer(execution: Execution): RunResult {
    if (execution.ended) this.#executions.forget(execution)
    return execution.answer()
  }

  /** Resolves when a new interpreter answers. Concurrent calls share one restart. */
  restart(): Promise<void> {
    this.#throwIfEnding()
    this.#restarting ??= this.#restart().finally(() => {
      this.#restarting = undefined
    })
    return this.#restarting
  }

  /** Ends the session; the first reason counts. Resolves when nothing of it runs. */
  end(reason: EndReason): Promise<void> {
    this.#ending ??= this.#end(reason)
    return this.#ending
  }

  info(): KernelInfo {
    const now = performance.now()
    const { lang, limits } = this
    return {
      lang: lang.manifest.lang,
      age: Math.floor(now - this.#createdAt),
      idle: Math.floor(now - this.#lastOutputAt),
      queryTimeout: limits.queryTimeoutMs,
      idleTimeout: limits.idleTimeoutMs,
      maxCpuCredit: limits.maxCpuCreditMs,
      numQueriesExecuted: this.#executions.accepted,
      memoryUsed: Math.ceil(this.#usage.memoryBytes / 1024),
      cpuCreditUsed: Math.floor(this.#usage.cpuMs),
      kernelId: this.id,
      clientSessionToken: this.token,
      status: this.#publicStatus(),
      maxMem: limits.memoryKb,
      isolation: this.#sandboxOrThrow().isolation,
    }
  }

  /** Reads the usage from the operating system; ends the session if its CPU credit is gone. */
  async sample(): Promise<void> {
    if (!this.#sandbox || isEnding(this.#state)) return
    this.#usage = await this.#options.backend.usage(this.#sandbox)
    const { maxCpuCreditMs } = this.limits
    if (maxCpuCreditMs > 0 && this.#usage.cpuMs >= maxCpuCreditMs) this.#endSoon('cpu-credit-exhausted')
  }

  /** Ends the session if no query came for its idle timeout. */
  checkIdle(): void {
    const mayIdleOut = this.#state === 'idle' || this.#state === 'waiting-input'
    if (mayIdleOut && performance.now() - this.#lastQueryAt >= this.limits.idleTimeoutMs)
      this.#endSoon('idle-timeout')
  }

  #runNext(): void {
    this.#lastQueryAt = performance.now()
    if (this.#state !== 'idle') return
    const next = this.#executions.startNext()
    if (!next) return
    this.#become('busy')
    this.#oomKillsSurvived = this.#usage.oomKills
    this.#queryDeadline.start(this.limits.queryTimeoutMs)
    this.#linkOrThrow().execute(next.id, next.code)
  }

  #supplyInput(execution: Execution, text: string): void {
    execution.inputSupplied()
    this.#lastQueryAt = performance.now()
    this.#become('busy')
    this.#queryDeadline.resume()
    this.#linkOrThrow()
      .request('input', { execution: execution.id, text })
      .catch((error) => this.#logger.debug({ err: error }, 'Input was not taken.'))
  }

  #onEvent(event: AgentOutput): void {
    if (event.type === 'status') {
      if (event.state === 'dead' && this.#state !== 'restarting') void this.#died(event.signal ?? undefined)
      return
    }
    this.#lastOutputAt = performance.now()
    const current = this.#executions.current
    if (event.id === null && event.type === 'stream') this.#executions.streamUnowned(event)
    if (!current || event.id !== current.id) return
    switch (event.type) {
      case 'input_request':
        this.#awaitInput(current, event.prompt, event.password)
        break
      case 'execute_reply':
        this.#queryDeadline.stop()
        this.#executions.endCurrent({ status: event.status === 'interrupted' ? 'interrupted' : 'finished' })
        this.#become('idle')
        this.#runNext()
        break
      case 'fail':
        this.#logger.error({ code: event.code, message: event.message }, 'The agent refused an execution.')
        this.#endSoon('crashed')
        break
      default:
        current.output.add(event)
    }
  }

  #awaitInput(execution: Execution, prompt: string, password: boolean): void {
    if (this.#state !== 'busy') return
    this.#queryDeadline.pause()
    this.#lastQueryAt = performance.now()
    this.#become('waiting-input')
    execution.requestInput(prompt, password)
  }

  #onLost(error: LinkClosedError): void {
    if (isEnding(this.#state)) return
    this.#logger.warn({ err: error }, 'The agent was lost.')
    void this.#died()
  }

  /** The interpreter, or all of the sandbox, is gone: the operating system knows whether memory was the reason. */
  async #died(signal?: number): Promise<void> {
    if (isEnding(this.#state) || !this.#sandbox) return
    const survived = this.#oomKillsSurvived
    const usage = await this.#options.backend.usage(this.#sandbox).catch(() => this.#usage)
    const killed = signal === undefined || signal === SIGKILL
    this.#endSoon(killed && usage.oomKills > survived ? 'out-of-memory' : 'crashed')
  }

  async #restart(): Promise<void> {
    if (!canBecome(this.#state, 'restarting')) throw this.#goneError()
    this.#queryDeadline.stop()
    this.#become('restarting')
    this.#executions.endAll({ status: 'terminated', reason: 'restarted' })
    try {
      await withinStartTime(this.#linkOrThrow().request('restart', {}))
    } catch (cause) {
      this.#logger.error({ err: cause }, 'The kernel did not restart.')
      await this.end('crashed')
    }
    this.#throwIfEnding()
    this.#lastOutputAt = performance.now()
    this.#lastQueryAt = this.#lastOutputAt
    this.#executions.dropUnowned()
    this.#become('idle')
    this.#runNext()
  }

  async #end(reason: EndReason): Promise<void> {
    const ending = { reason, at: Date.now() }
    this.#ended = ending
    this.#become('terminating', reason)
    this.#queryDeadline.stop()
    this.#executions.endAll({ status: 'terminated', reason })
    this.#options.onEnding(ending, this.#executions.unfetched())
    this.#link?.close()
    try {
      const sandbox = await this.#preparing?.catch(() => undefined)
      if (sandbox) await this.#options.backend.destroy(sandbox)
    } finally {
      this.#become('terminated', reason)
      this.#gone.resolve()
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

  #linkOrThrow(): AgentLink {
    if (!this.#link) throw new Error(`a ${this.#state} session has no link`)
    return this.#link
  }

  #sandboxOrThrow(): Sandbox {
    if (!this.#sandbox) throw new Error(`a ${this.#state} session has no sandbox`)
    return this.#sandbox
  }
}

const SIGKILL = 9

async function withinStartTime<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new Error(`no answer within ${START_TIMEOUT_MS} ms`)),
    START_TIMEOUT_MS,
  )
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
