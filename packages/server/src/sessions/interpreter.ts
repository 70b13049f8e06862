import { randomUUID } from 'node:crypto'
import type { Isolation } from '@cob/protocol'
import type { Backend, Sandbox, SandboxLimits, Usage } from '../backend/backend.ts'
import type { AgentLink, AgentOutput } from '../channel/agent-link.ts'
import { type AgentStream, createAgentStream } from '../channel/agent-stream.ts'
import type { Logger } from '../observe/logger.ts'
import type { AgentFault } from '../observe/observer.ts'
import { type Candidate, removeCandidate } from './warm-pool.ts'

/** How long a new interpreter may take to answer before a start or restart counts as failed. */
const START_TIMEOUT_MS = 30_000
/** The same for one that was ready already; another is taken then. */
const WARM_START_TIMEOUT_MS = 2000
/** How long a question about typed code may take before it is interrupted. */
const ANSWER_TIMEOUT_MS = 4000
const SIGKILL = 9
const NO_USAGE: Usage = { memoryBytes: 0, cpuMs: 0, oomKills: 0, processes: 0 }

/** What the interpreter says of executions; its own state is told otherwise. */
export type InterpreterOutput = Exclude<AgentOutput, { type: 'status' }>

export interface InterpreterOptions {
  readonly backend: Backend
  /** See `WarmPool`. */
  readonly take: () => Candidate
  readonly limits: SandboxLimits
  readonly environ: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly onFault: (fault: AgentFault) => void
  readonly onOutput: (event: InterpreterOutput) => void
  /** It died by itself; may be called more than once. The reason comes from the operating system. */
  readonly onDeath: (reason: 'out-of-memory' | 'crashed') => void
}

/** A sandbox and the interpreter in it, as one session holds them. */
export interface Interpreter {
  /** As of the last `sample`. */
  readonly usage: Usage
  /** It was ready before anybody asked for it. */
  readonly isWarm: boolean
  /** Undefined before the sandbox is made. */
  readonly isolation: Isolation | undefined
  /** Takes a sandbox and waits until the interpreter answers. After a failure `destroy` must still be called. */
  start(): Promise<void>
  execute(executionId: string, code: string): void
  supplyInput(executionId: string, text: string): void
  /** Interrupts the code of this execution; nothing happens when it has ended meanwhile. */
  interrupt(executionId: string): Promise<void>
  /** Asks about typed code; undefined when there is no answer in time, or nobody to give one. Only while nothing runs. */
  ask(method: 'complete' | 'inspect', code: string, cursor: number): Promise<unknown>
  /** True: nothing more of the code's output is wanted for now. */
  holdBack(isHeld: boolean): void
  /** Resolves when a new interpreter answers; files stay. */
  restart(): Promise<void>
  /** A connection that carries files; whoever opens it closes it. */
  openStream(): Promise<AgentStream>
  /** See `Backend.freeMemory`. */
  freeMemory(): Promise<number>
  sample(): Promise<Usage>
  /** Resolves when nothing of the sandbox runs. Also while it starts. */
  destroy(): Promise<void>
}

export function createInterpreter(options: InterpreterOptions): Interpreter {
  const { backend, logger } = options
  let taken: Candidate | undefined
  let sandbox: Sandbox | undefined
  let link: AgentLink | undefined
  let usage = NO_USAGE
  // Kills for memory that the interpreter itself survived must not be taken for a later death's reason.
  let oomKillsSurvived = 0
  let isRestarting = false
  let isOver = false

  const died = async (signal?: number): Promise<void> => {
    if (isOver || !sandbox) return
    const survived = oomKillsSurvived
    const { oomKills } = await backend.usage(sandbox).catch(() => usage)
    const wasKilled = signal === undefined || signal === SIGKILL
    if (!isOver) options.onDeath(wasKilled && oomKills > survived ? 'out-of-memory' : 'crashed')
  }
  const onEvent = (event: AgentOutput): void => {
    if (event.type !== 'status') options.onOutput(event)
    else if (event.state === 'dead' && !isRestarting) void died(event.signal ?? undefined)
  }
  const throwIfOver = (): void => {
    if (isOver) throw new Error('destroyed while it started')
  }
  const adopt = async (candidate: Candidate, timeoutMs: number): Promise<void> => {
    taken = candidate
    const made = await candidate.sandbox
    throwIfOver()
    await backend.assign(made, options.limits)
    throwIfOver()
    const attached = await candidate.link
    throwIfOver()
    sandbox = made
    link = attached
    // Until it has answered, an end is a failed start and nothing else.
    const early: (() => void)[] = []
    let hear = (act: () => void): unknown => early.push(act)
    void made.exited.then(() => hear(died))
    attached.listen({
      onEvent: (event) => hear(() => onEvent(event)),
      onLost: (err) => {
        if (!isOver) {
          logger.warn({ err }, 'The agent was lost.')
          options.onFault('lost')
        }
        hear(died)
      },
    })
    // One that was ready has nothing more to get ready for.
    if (!candidate.isWarm || Object.keys(options.environ).length > 0)
      await within(timeoutMs, attached.request('configure', { environ: { ...options.environ } }))
    hear = (act) => act()
    for (const act of early) act()
    usage = await backend.usage(made)
  }
  const started = (): AgentLink => {
    if (!link) throw new Error('the interpreter is not started')
    return link
  }

  return {
    get usage() {
      return usage
    },
    get isWarm() {
      return taken?.isWarm === true
    },
    get isolation() {
      return sandbox?.isolation
    },
    async start() {
      let candidate = options.take()
      while (candidate.isWarm) {
        try {
          return await adopt(candidate, WARM_START_TIMEOUT_MS)
        } catch (err) {
          throwIfOver()
          logger.warn({ err }, 'A warm sandbox did not answer; another is taken.')
          options.onFault('warm-start')
          await removeCandidate(backend, candidate)
          candidate = options.take()
        }
      }
      await adopt(candidate, START_TIMEOUT_MS)
    },
    execute(executionId, code) {
      oomKillsSurvived = usage.oomKills
      started().execute(executionId, code)
    },
    supplyInput(executionId, text) {
      started()
        .request('input', { execution: executionId, text })
        .catch((err) => logger.debug({ err }, 'Input was not taken.'))
    },
    async interrupt(executionId) {
      await started()
        .request('interrupt', { execution: executionId })
        .catch((err) => logger.debug({ err }, 'There was nothing to interrupt.'))
    },
    async ask(method, code, cursor) {
      const id = randomUUID()
      const late = Promise.withResolvers<void>()
      // Code of the user's that answers may hang; it is interrupted, and what ignores that is not waited for.
      const interrupt = setTimeout(() => {
        started()
          .request('interrupt', { execution: id })
          .catch(() => {})
      }, ANSWER_TIMEOUT_MS)
      const giveUp = setTimeout(late.resolve, 2 * ANSWER_TIMEOUT_MS)
      try {
        return await Promise.race([started().request(method, { code, cursor }, id), late.promise])
      } catch (err) {
        logger.debug({ err }, 'A question was not answered.')
        return undefined
      } finally {
        clearTimeout(interrupt)
        clearTimeout(giveUp)
      }
    },
    holdBack: (isHeld) => link?.holdBack(isHeld),
    async restart() {
      isRestarting = true
      try {
        await within(START_TIMEOUT_MS, started().request('restart', {}))
      } finally {
        isRestarting = false
      }
    },
    async openStream() {
      if (!sandbox || isOver) throw new Error('the sandbox is gone')
      return createAgentStream(await backend.connect(sandbox))
    },
    async freeMemory() {
      if (!sandbox || isOver) throw new Error('the sandbox is gone')
      return backend.freeMemory(sandbox)
    },
    async sample() {
      if (sandbox && !isOver) usage = await backend.usage(sandbox)
      return usage
    },
    async destroy() {
      isOver = true
      if (taken) await removeCandidate(backend, taken)
    },
  }
}

async function within<T>(timeoutMs: number, answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
