import { randomBytes, randomUUID } from 'node:crypto'
import type { CreateKernel, Network, RunCode } from '@cob/protocol'
import type { Sandbox } from '../backend/backend.ts'
import { CobError } from '../errors.ts'
import type { Lang } from '../langs/lang.ts'
import type { SessionCount } from '../observe/session-metrics.ts'
import { createPatientWriter } from '../store/patient-writer.ts'
import type { SessionStore, TombstoneRecord } from '../store/session-store.ts'
import type { UsageStore } from '../store/usage.ts'
import { type Account, createAccounting } from './accounting.ts'
import { adoptAll } from './adoption.ts'
import { createCpuQuota } from './cpu-quota.ts'
import { createDrain } from './drain.ts'
import type { Execution } from './execution.ts'
import { createHoldings } from './holdings.ts'
import { type LimitRanges, resolveLimits, type SessionLimits } from './limits.ts'
import { checkQuota, type InUse, type Quota } from './quota.ts'
import { createReaper } from './reaper.ts'
import { Session, type SessionOptions } from './session.ts'
import type { EventSource, Owner, Sessions } from './sessions.ts'
import { isEnding } from './state.ts'
import { createTombstones, type Ending, goneError } from './tombstones.ts'
import { createUseRecorder } from './use-recorder.ts'
import { createWarmPool, type WarmPoolOptions } from './warm-pool.ts'

export interface SessionsOptions extends WarmPoolOptions {
  /** Where sessions are kept for another server; without it they end with this one. */
  readonly store?: SessionStore
  /** Of the machine, this time. */
  readonly bootId: string
  readonly limits: LimitRanges
  /** What an owner may have, as of now. */
  readonly quotaOf: (owner: Owner) => Quota
  /** Where it is written down what each session used. */
  readonly ledger: Pick<UsageStore, 'addUsage' | 'sumCpuMs'>
  readonly maxKernels: number
  /** Processes (threads included) one session may have. */
  readonly maxProcesses: number
  /** Executions that may wait on one session; at least 1. */
  readonly maxQueued: number
  /** Bytes of one uploaded file. */
  readonly maxUploadBytes: number
  /** Characters of code, output and answers that are kept for all sessions together. */
  readonly maxHeldCharacters: number
  /** See `Drain`. */
  readonly onDrained?: () => void
  /** ms since the epoch */
  readonly now?: () => number
}

/** For whoever opened them. */
export interface SessionsOwner extends Sessions {
  /** Takes over what an earlier server left in the store. Resolves when each goes on, or has ended with a reason. */
  adopt(): Promise<void>
  /**
   * Ends all sessions. With `leave` they go on without a server until another one adopts them: whoever waits for one is told, and
   * `release` it before this process ends.
   */
  close(options?: { readonly leave?: boolean }): Promise<void>
  /** The sandboxes that are left to another server. */
  release(): Sandbox[]
}

interface Entry {
  readonly owner: Owner
  readonly session: Session
  /** Resolves when the session can be used. */
  readonly started: Promise<void>
  /** Undefined until it can be used. */
  account: Account | undefined
}

const NO_CAPACITY_RETRY_S = 5

/** All sessions of this server: who owns which, and how many there may be. */
export function createSessions(options: SessionsOptions): SessionsOwner {
  const entries = new Map<string, Entry>()
  const { store, backend, logger } = options
  const tombstones = createTombstones(store?.tombstones() ?? [])
  const holdings = createHoldings(options.maxHeldCharacters)
  const pool = createWarmPool(options)
  const recordUse = createUseRecorder(options)
  const now = options.now ?? Date.now
  const accounting = createAccounting({ ...options, now })
  const cpuQuota = createCpuQuota({ ...options, accounting, now })
  const drain = createDrain({ count: () => entries.size, onDone: () => options.onDrained?.() })
  let closing = false
  let isLeaving = false

  const isLive = ({ session }: Entry): boolean => !isEnding(session.state)
  const ownedBy = (owner: Owner): Entry[] => [...entries.values()].filter((entry) => entry.owner === owner)

  const inUse = (owner: Owner): InUse => {
    const owned = ownedBy(owner)
    return {
      kernels: owned.length,
      memoryKb: owned.reduce((sum, { session }) => sum + session.limits.memoryKb, 0),
      cpuMsToday: accounting.cpuMsToday(owner),
    }
  }
  const isUsable = (entry: Entry): boolean => isLive(entry) && entry.session.state !== 'starting'

  const find = (owner: Owner, kernelId: string): Session => {
    if (isLeaving) throw CobError.of('shutting-down', {})
    const entry = entries.get(kernelId)
    if (entry?.owner === owner && isUsable(entry)) return entry.session
    throw goneError(kernelId, tombstones.find(kernelId, owner))
  }

  /** It is one of ours until nothing of it runs. */
  const enter = (entry: Entry): void => {
    const { session } = entry
    entries.set(session.id, entry)
    void session.gone.then(() => {
      entries.delete(session.id)
      drain.check()
    })
  }

  const open = (owner: Owner, request: CreateKernel, lang: Lang, limits: SessionLimits): Entry => {
    if (entries.size >= options.maxKernels) {
      throw CobError.of('no-capacity', { count: entries.size }, { retryAfterS: NO_CAPACITY_RETRY_S })
    }
    const quota = options.quotaOf(owner)
    const mayUse = quota.langs?.map((name) => options.langs.find(name)?.name ?? name)
    const { lang: name } = lang.manifest
    if (mayUse && !mayUse.includes(name))
      throw CobError.of('lang-not-allowed', { lang: name, allowed: mayUse.join(', ') || 'none' })
    checkQuota(quota, inUse(owner), limits.memoryKb, now())

    const held = holdings.of(owner)
    const environCharacters = Object.entries(request.environ ?? {})
      .flat()
      .join('').length
    if (!held.take(environCharacters)) throw CobError.of('too-much-held', {}, { retryAfterS: 1 })
    const session = build(owner, quota.network, {
      id: createKernelId(),
      token: request.clientSessionToken ?? randomUUID(),
      lang,
      limits,
      environ: request.environ ?? {},
    })
    const begin = async (): Promise<void> => {
      await session.start()
      entry.account = accounting.open({ kernelId: session.id, owner, lang: name, createdAt: now() })
    }
    const started = begin().catch((cause) => {
      // It was ended before anybody could know it.
      if (closing) throw CobError.of('shutting-down', {})
      if (cause instanceof CobError) throw cause
      logger.error({ err: cause, kernelId: session.id, lang: name }, 'The kernel could not be started.')
      options.observer.createFailed({ kernelId: session.id, lang: name })
      throw CobError.of('kernel-start-failed', { lang: name }, { cause, retryAfterS: NO_CAPACITY_RETRY_S })
    })
    const entry: Entry = { owner, session, started, account: undefined }
    enter(entry)
    void session.gone.then(() => held.give(environCharacters))
    return entry
  }

  const records = createPatientWriter<TombstoneRecord>((end) => store?.endSession(end), {
    logger,
    what: 'The end of a session',
  })
  const bury = (
    kernelId: string,
    owner: Owner,
    { reason, at }: Ending,
    executions: readonly Execution[],
    isRecorded: boolean,
  ): void => {
    tombstones.add(kernelId, owner, { reason, at }, executions)
    // Of one that no other server would find nothing is to be taken back.
    if (isRecorded) records.write({ kernelId, owner, reason, at })
    logger.info({ kernelId, owner, reason }, 'Session ends.')
  }

  const build = (
    owner: Owner,
    network: Network,
    own: Pick<SessionOptions, 'id' | 'token' | 'lang' | 'limits' | 'environ'>,
  ): Session =>
    new Session({
      ...own,
      take: () => pool.take(own.lang, network),
      processes: options.maxProcesses,
      maxQueued: options.maxQueued,
      maxUploadBytes: options.maxUploadBytes,
      held: holdings.of(owner),
      store,
      recordAs: { owner, bootId: options.bootId },
      backend,
      observer: options.observer,
      logger,
      onEnding: (ending, executions, figures) => {
        // Before it is forgotten that the session lives: whenever this process ends, somebody writes down what it used.
        entries.get(own.id)?.account?.close(ending, figures)
        bury(own.id, owner, ending, executions, entries.get(own.id)?.session.isRecorded === true)
      },
      onEnded: (ending, figures) => entries.get(own.id)?.account?.close(ending, figures),
      checkCpu: () => cpuQuota.check(owner),
    })

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
      accounting.sweep()
      records.sweep()
      const live = [...entries.values()].filter(isUsable)
      for (const { session, account } of live) {
        session.sweep()
        account?.charge(session.cpuMs)
      }
      cpuQuota.enforce(live)
      recordUse([...entries.values()].map(({ session }) => session))
    },
    observer: options.observer,
    logger: logger,
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
      drain.throwIfDraining()
      const limits = resolveLimits(request.resourceLimits, options.limits, lang.manifest)
      const { session, started } = open(owner, request, lang, limits)
      await started
      logger.info({ requestId, kernelId: session.id, owner, lang: lang.manifest.lang }, 'Session created.')
      return { kernelId: session.id, created: true }
    },
    async list(owner) {
      if (isLeaving) throw CobError.of('shutting-down', {})
      const usable = ownedBy(owner).filter(isUsable)
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
    async adopt() {
      const waiting = store?.liveSessions() ?? []
      const count = waiting.length
      await adoptAll(waiting, {
        ...options,
        accounting,
        bury: (kernelId, owner, ending) => bury(kernelId, owner, ending, [], true),
        resume({ kernelId: id, owner, token, limits }, lang, account) {
          const { network } = options.quotaOf(owner)
          const session = build(owner, network, { id, token, lang, limits, environ: {} })
          enter({ owner, session, started: Promise.resolve(), account })
          return session
        },
      })
      if (count > 0) logger.info({ count: entries.size, of: count }, 'Sessions of an earlier server go on.')
    },
    async listAll() {
      if (isLeaving) throw CobError.of('shutting-down', {})
      const usable = [...entries.values()].filter(isUsable)
      const told = await Promise.allSettled(
        usable.map(async ({ owner, session }) => ({ owner, info: await session.info() })),
      )
      // As above.
      return told.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    },
    async destroyAny(kernelId) {
      if (isLeaving) throw CobError.of('shutting-down', {})
      const entry = entries.get(kernelId)
      if (!entry || !isUsable(entry)) throw CobError.of('no-such-kernel', { id: kernelId })
      await entry.session.end('user-requested')
    },
    inUse,
    count: () => entries.size,
    drain,
    warmUp: () => pool.open(),
    census: () => count([...entries.values()].map(({ session }) => session)),
    warm: () => pool.figures(),
    async close({ leave } = {}) {
      closing = true
      isLeaving = leave === true
      reaper.close()
      const staying = [...entries.values()].filter(
        ({ session }) => !isLeaving || session.state === 'starting',
      )
      for (const { session } of isLeaving ? entries.values() : []) session.leave()
      const ends = await Promise.allSettled([
        ...staying.map(({ session }) => session.end('server-shutdown')),
        pool.close(),
      ])
      accounting.close()
      records.close()
      for (const end of ends) {
        if (end.status === 'rejected') logger.error({ err: end.reason }, 'A sandbox could not be removed.')
      }
    },
    release: () =>
      isLeaving
        ? [...entries.values()]
            .map(({ session }) => session.release())
            .filter((sandbox) => sandbox !== undefined)
        : [],
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
