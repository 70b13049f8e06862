import { randomBytes } from 'node:crypto'
import type { CreateKernel, Network, RunCode } from '@cob/protocol'
import { CobError } from '../errors.ts'
import type { Lang } from '../langs/lang.ts'
import type { SessionCount } from '../observe/session-metrics.ts'
import type { Execution } from './execution.ts'
import { createHoldings } from './holdings.ts'
import { type LimitRanges, resolveLimits, type SessionLimits } from './limits.ts'
import { createReaper } from './reaper.ts'
import { Session } from './session.ts'
import type { EventSource, Owner, Sessions } from './sessions.ts'
import { isEnding } from './state.ts'
import { createTombstones, goneError } from './tombstones.ts'
import { createWarmPool, type WarmPoolOptions } from './warm-pool.ts'

export interface SessionsOptions extends WarmPoolOptions {
  readonly limits: LimitRanges
  /** What the kernels of an owner reach. */
  readonly networkOf: (owner: Owner) => Network
  readonly maxKernels: number
  readonly maxKernelsPerKey: number
  /** Processes (threads included) one session may have. */
  readonly maxProcesses: number
  /** Executions that may wait on one session; at least 1. */
  readonly maxQueued: number
  /** Bytes of one uploaded file. */
  readonly maxUploadBytes: number
  /** Characters of code, output and answers that are kept for all sessions together. */
  readonly maxHeldCharacters: number
}

interface Entry {
  readonly owner: Owner
  readonly session: Session
  /** Resolves when the session can be used. */
  readonly started: Promise<void>
}

const NO_CAPACITY_RETRY_S = 5

/** All sessions of this server: who owns which, and how many there may be. */
export function createSessions(options: SessionsOptions): Sessions {
  const entries = new Map<string, Entry>()
  const tombstones = createTombstones()
  const holdings = createHoldings(options.maxHeldCharacters)
  const pool = createWarmPool(options)
  let closing = false

  const isLive = ({ session }: Entry): boolean => !isEnding(session.state)
  const ownedBy = (owner: Owner): Entry[] => [...entries.values()].filter((entry) => entry.owner === owner)

  const find = (owner: Owner, kernelId: string): Session => {
    const entry = entries.get(kernelId)
    if (entry?.owner === owner && isLive(entry) && entry.session.state !== 'starting') return entry.session
    throw goneError(kernelId, tombstones.find(kernelId, owner))
  }

  const open = (owner: Owner, request: CreateKernel, lang: Lang, limits: SessionLimits): Entry => {
    if (entries.size >= options.maxKernels) {
      throw CobError.of('no-capacity', { count: entries.size }, { retryAfterS: NO_CAPACITY_RETRY_S })
    }
    const owned = ownedBy(owner).length
    if (owned >= options.maxKernelsPerKey) throw CobError.of('quota-exceeded', { count: owned })

    const held = holdings.of(owner)
    const environCharacters = Object.entries(request.environ ?? {})
      .flat()
      .join('').length
    if (!held.take(environCharacters)) throw CobError.of('too-much-held', {}, { retryAfterS: 1 })
    const id = createKernelId()
    const session: Session = new Session({
      id,
      token: request.clientSessionToken ?? randomBytes(16).toString('base64url'),
      lang,
      limits,
      take: () => pool.take(lang, options.networkOf(owner)),
      environ: request.environ ?? {},
      processes: options.maxProcesses,
      maxQueued: options.maxQueued,
      maxUploadBytes: options.maxUploadBytes,
      held,
      backend: options.backend,
      observer: options.observer,
      logger: options.logger,
      onEnding: (ending, executions) => {
        tombstones.add(id, owner, ending, executions)
        options.logger.info({ kernelId: id, owner, reason: ending.reason }, 'Session ends.')
      },
    })
    const started = session.start().catch((cause) => {
      if (cause instanceof CobError) throw cause
      options.logger.error(
        { err: cause, kernelId: id, lang: lang.manifest.lang },
        'The kernel could not be started.',
      )
      options.observer.createFailed({ kernelId: id, lang: lang.manifest.lang })
      throw CobError.of(
        'kernel-start-failed',
        { lang: lang.manifest.lang },
        { cause, retryAfterS: NO_CAPACITY_RETRY_S },
      )
    })
    const entry = { owner, session, started }
    entries.set(id, entry)
    void session.gone.then(() => {
      entries.delete(id)
      held.give(environCharacters)
    })
    return entry
  }

  const resolveLang = async (name: string): Promise<Lang> => {
    const found = options.langs.find(name)
    if (!found) throw CobError.of('unknown-lang', { lang: name, known: options.langs.names().join(', ') })
    const lang = await found.load()
    if (!lang) throw CobError.of('lang-unavailable', { lang: name, install: found.install })
    return lang
  }

  const submit = (owner: Owner, kernelId: string, request: RunCode): Execution => {
    const { code, codeId } = request
    const left =
      codeId !== undefined && code === '' ? tombstones.findExecution(kernelId, owner, codeId) : undefined
    return left && !left.fetched ? left : find(owner, kernelId).submit(request)
  }
  const recall = (owner: Owner, kernelId: string, executionId: string): Execution =>
    tombstones.findExecution(kernelId, owner, executionId) ?? find(owner, kernelId).execution(executionId)

  const reaper = createReaper({
    sessions: () => [...entries.values()].map(({ session }) => session),
    sweep: () => {
      tombstones.sweep()
      pool.sweep()
      for (const { session } of entries.values()) session.sweep()
    },
    observer: options.observer,
    logger: options.logger,
  })

  return {
    async create(owner, request, requestId) {
      if (closing) throw CobError.of('shutting-down', {})
      const lang = await resolveLang(request.lang)
      if (closing) throw CobError.of('shutting-down', {})
      const token = request.clientSessionToken
      const existing = ownedBy(owner).find((entry) => isLive(entry) && entry.session.token === token)
      if (existing) {
        const { session } = existing
        if (session.lang.manifest.lang !== lang.manifest.lang) {
          throw CobError.of('token-in-use', { token: session.token, lang: session.lang.manifest.lang })
        }
        await existing.started
        return { kernelId: session.id, created: false }
      }
      const limits = resolveLimits(request.resourceLimits, options.limits, lang.manifest)
      const { session, started } = open(owner, request, lang, limits)
      await started
      options.logger.info(
        { requestId, kernelId: session.id, owner, lang: lang.manifest.lang },
        'Session created.',
      )
      return { kernelId: session.id, created: true }
    },
    async list(owner) {
      const usable = ownedBy(owner).filter((entry) => isLive(entry) && entry.session.state !== 'starting')
      const told = await Promise.allSettled(usable.map(({ session }) => session.info()))
      // One that is rejected has ended just now.
      return told.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    },
    info: async (owner, kernelId) => find(owner, kernelId).info(),
    async run(owner, kernelId, request, { waitMs, signal, sent }) {
      const execution = submit(owner, kernelId, request)
      await execution.settled(waitMs, signal)
      return execution.answer(sent)
    },
    follow(owner, kernelId, request) {
      const execution = submit(owner, kernelId, request)
      return toSource(execution, Math.max(execution.answeredAfter, execution.events.firstId - 1))
    },
    execution: (owner, kernelId, executionId) => recall(owner, kernelId, executionId).describe(),
    events(owner, kernelId, executionId, after) {
      const execution = recall(owner, kernelId, executionId)
      const { firstId, nextId } = execution.events
      if (after !== undefined && after >= nextId) {
        const problem = `Event ${after} has not happened; the last one of execution ${execution.id} is ${nextId - 1}.`
        throw CobError.of('invalid-request', { problem })
      }
      if (after !== undefined && after + 1 < firstId)
        throw CobError.of(
          'events-gone',
          { after, firstId, executionId: execution.id },
          { extra: { firstId } },
        )
      return toSource(execution, after ?? firstId - 1)
    },
    interrupt: async (owner, kernelId, executionId) => find(owner, kernelId).interrupt(executionId),
    input: (owner, kernelId, text, executionId) => find(owner, kernelId).input(text, executionId),
    complete: async (owner, kernelId, question) => find(owner, kernelId).complete(question),
    inspect: async (owner, kernelId, question) => find(owner, kernelId).inspect(question),
    files: (owner, kernelId) => find(owner, kernelId).files,
    openTerminal: async (owner, kernelId, size) => find(owner, kernelId).openTerminal(size),
    watch: (owner, kernelId, watcher) => find(owner, kernelId).watch(watcher),
    touch: (owner, kernelId) => find(owner, kernelId).touch(),
    restart: async (owner, kernelId) => find(owner, kernelId).restart(),
    destroy: async (owner, kernelId) => find(owner, kernelId).end('user-requested'),
    warmUp: () => pool.open(),
    census: () => count([...entries.values()].map(({ session }) => session)),
    warm: () => pool.figures(),
    async close() {
      closing = true
      reaper.close()
      const ends = await Promise.allSettled([
        ...[...entries.values()].map(({ session }) => session.end('server-shutdown')),
        pool.close(),
      ])
      for (const end of ends) {
        if (end.status === 'rejected')
          options.logger.error({ err: end.reason }, 'A sandbox could not be removed.')
      }
    },
  }
}

function toSource(execution: Execution, after: number): EventSource {
  return { executionId: execution.id, open: (onMore) => execution.read(after, onMore) }
}

/** By kernel type and state. */
function count(sessions: readonly Session[]): SessionCount[] {
  const counts = new Map<string, SessionCount>()
  for (const { lang, state } of sessions) {
    const name = lang.manifest.lang
    const key = `${name} ${state}`
    counts.set(key, { lang: name, state, count: (counts.get(key)?.count ?? 0) + 1 })
  }
  return [...counts.values()]
}

/** 128 random bits as base64url; not one that starts with a dash, which a command line would take for an option. */
function createKernelId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}
