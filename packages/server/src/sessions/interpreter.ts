import { randomUUID } from 'node:crypto'
import type { Attached, Isolation } from '@cob/protocol'
import type { Backend, Sandbox, SandboxLimits, Usage } from '../backend/backend.ts'
import { type AgentLink, type AgentOutput, adoptAgentLink } from '../channel/agent-link.ts'
import { type AgentStream, createAgentStream } from '../channel/agent-stream.ts'
import type { Logger } from '../observe/logger.ts'
import type { AgentFault } from '../observe/observer.ts'
import { type Candidate, removeCandidate } from './warm-pool.ts'

/** How long a new interpreter may take to answer before a start or restart counts as failed. */
const START_TIMEOUT_MS = 90_000
/** The same for one that was ready already; another is taken then. */
const WARM_START_TIMEOUT_MS = 2000
/** How long an agent that has been there all the time may take: the machine may be busy. */
const ADOPT_TIMEOUT_MS = 10_000
/** How long a question about typed code may take before it is interrupted. */
const ANSWER_TIMEOUT_MS = 4000
const SIGKILL = 9
const NO_USAGE: Usage = { memoryBytes: 0, cpuMs: 0, oomKills: 0, processes: 0 }

/** What the interpreter says of executions; its own state is told otherwise. */
export type InterpreterOutput = Exclude<AgentOutput, { type: 'status' }>

type OnAdopted = (attached: Attached, events: readonly AgentOutput[]) => void

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
  /**
   * Takes the sandbox that another server described. `onAdopted` is called with what the agent says and the events it had until then; those that
   * follow come as always. Rejects where there is no sandbox; an agent that does not answer is told by `onDeath`.
   */
  adopt(sandbox: unknown, oomKills: number, onAdopted: OnAdopted): Promise<void>
  /** See `Backend.describe`. */
  describe(): unknown
  /** Lets go of the sandbox, which runs on for another server. Undefined where there is none, or it cannot be adopted. */
  release(): Sandbox | undefined
  /** False: see `AgentLink.execute`. */
  execute(executionId: string, code: string): boolean
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
  /** See `Backend.peakMemory`; 0 where there is no sandbox. */
  peakMemory(): Promise<number>
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
  const onLost = (err: unknown): void => {
    if (!isOver) {
      logger.warn({ err }, 'The agent was lost.')
      options.onFault('lost')
    }
    void died()
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
      onLost: (err) => hear(() => onLost(err)),
    })
    // One that was ready has nothing more to get ready for.
    if (!candidate.isWarm || Object.keys(options.environ).length > 0)
      await within(timeoutMs, attached.request('configure', { environ: { ...options.environ } }))
    hear = (act) => act()
    for (const act of early) act()
  }
  const sample = async (): Promise<Usage> => {
    if (sandbox && !isOver) usage = await backend.usage(sandbox)
    return usage
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
    async adopt(description, oomKills, onAdopted) {
      const made = await backend.adopt(description)
      const adopting = adoptAgentLink(() => backend.connect(made), ADOPT_TIMEOUT_MS)
      const candidate = {
        isWarm: false,
        sandbox: Promise.resolve(made),
        link: adopting.then(({ link }) => link),
      }
      candidate.link.catch(() => {})
      taken = candidate
      sandbox = made
      oomKillsSurvived = oomKills
      usage = await backend.usage(made)
      try {
        const { link: adopted, attached, events } = await adopting
        if (isOver) return
        link = adopted
        adopted.listen({ onEvent, onLost })
        onAdopted(
          attached,
          events.filter(({ seq }) => seq < attached.next),
        )
        for (const event of events) if (event.seq >= attached.next) onEvent(event)
        if (attached.state === 'dead') {
          const end = events.findLast((event) => event.type === 'status')
          await died(end?.signal ?? undefined)
        }
        adopted.holdBack(false)
        void made.exited.then(() => died())
      } catch (err) {
        onLost(err)
      }
    },
    describe: () => sandbox && backend.describe(sandbox),
    release() {
      if (isOver || !sandbox || backend.describe(sandbox) === undefined) return undefined
      isOver = true
      link?.close()
      return sandbox
    },
    execute(executionId, code) {
      oomKillsSurvived = usage.oomKills
      return started().execute(executionId, code)
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
    sample,
    async peakMemory() {
      return sandbox ? backend.peakMemory(sandbox) : 0
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
