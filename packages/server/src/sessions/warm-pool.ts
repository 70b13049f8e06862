import type { Network } from '@cob/protocol'
import type { Backend, Sandbox } from '../backend/backend.ts'
import { type AgentLink, type AgentOutput, createAgentLink } from '../channel/agent-link.ts'
import type { Lang, Langs } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import type { Observer } from '../observe/observer.ts'
import type { WarmFigures } from '../observe/session-metrics.ts'

/** So that the code a session was created for goes first. */
const REFILL_DELAY_MS = 20
/** Sandboxes that nobody has asked for yet, made at once. */
const MADE_AT_ONCE = 1
/** How long what was asked for in one second counts as what may be asked for again. */
const DEMAND_MS = 300_000
const DEMAND_WINDOW_MS = 1000
const CHECK_EVERY_MS = 10_000
const CHECK_TIMEOUT_MS = 5000
const READY_TIMEOUT_MS = 30_000
const MIN_RETRY_MS = 1000
const MAX_RETRY_MS = 60_000

/** A sandbox that is made, or being made, for one session. Whoever has taken it destroys it, also when `link` rejects. */
export interface Candidate {
  /** Its interpreter was ready when it was taken. */
  readonly isWarm: boolean
  readonly sandbox: Promise<Sandbox>
  /** Attached to its agent; `listen` to it at once. */
  readonly link: Promise<AgentLink>
}

/** Sandboxes kept ready for sessions to come: complete ones, each used once. */
export interface WarmPool {
  /** One that is ready, or else on its way, or else a new one. Only those without a network are kept. */
  take(lang: Lang, network: Network): Candidate
  /** Begins to keep what the configuration asks for. Resolves when one of each is ready, or could not be made. */
  open(): Promise<void>
  figures(): Promise<WarmFigures[]>
  /** About once a second: forgets demand that has passed, and looks after those that wait. */
  sweep(): void
  close(): Promise<void>
}

export interface WarmPoolOptions {
  readonly backend: Backend
  readonly langs: Langs
  /** How many to keep by kernel type, whatever the demand. 0: never any; those not named follow demand alone. */
  readonly warm: Readonly<Record<string, number>>
  /** Of all kernel types together. */
  readonly maxWarm: number
  readonly observer: Observer
  readonly logger: Logger
}

/** One that waits, or is made, for nobody yet. */
interface Spare extends Candidate {
  isReady: boolean
  checkedAt: number
  /** Whoever took it waits for it now. */
  readonly leave: () => void
}

/** What is kept of one kernel type. */
interface Shelf {
  readonly lang: Lang
  readonly spares: Set<Spare>
  readonly fixed: number | undefined
  /** Asked for in the second that began at `windowAt`, and most in any second, which was at `peakAt`. */
  inWindow: number
  windowAt: number
  peak: number
  peakAt: number
  /** No other is made before this time, after one could not be made. */
  retryAt: number
  retryMs: number
}

/** Resolves when nothing is left of one that was taken, whatever became of it. */
export async function removeCandidate(backend: Backend, { sandbox, link }: Candidate): Promise<void> {
  void link.then(
    (attached) => attached.close(),
    () => {},
  )
  const made = await sandbox.catch(() => undefined)
  if (made) await backend.destroy(made)
}

export function createWarmPool(options: WarmPoolOptions): WarmPool {
  const { backend, langs, warm, maxWarm, observer, logger } = options
  const shelves = new Map<string, Shelf>()
  let making = 0
  let refill: NodeJS.Timeout | undefined
  let isClosed = false
  const ends = new Set<Promise<void>>()

  const shelfOf = (lang: Lang): Shelf => {
    const { lang: name } = lang.manifest
    const known = shelves.get(name)
    if (known) return known
    const none = { inWindow: 0, windowAt: 0, peak: 0, peakAt: 0, retryAt: 0, retryMs: MIN_RETRY_MS }
    const shelf: Shelf = { lang, spares: new Set(), fixed: warm[name], ...none }
    shelves.set(name, shelf)
    return shelf
  }
  const wantedOf = ({ fixed, peak }: Shelf): number =>
    fixed === 0 ? 0 : Math.min(Math.max(fixed ?? 0, peak), maxWarm)
  const countAll = (): number => [...shelves.values()].reduce((sum, { spares }) => sum + spares.size, 0)

  const discard = (shelf: Shelf, spare: Spare): void => {
    if (!shelf.spares.delete(spare)) return
    const end = removeCandidate(backend, spare).catch((err) =>
      logger.error({ err }, 'A warm sandbox could not be removed.'),
    )
    ends.add(end)
    void end.finally(() => ends.delete(end))
    scheduleRefill()
  }

  /** Makes one for nobody yet, which takes a place on the shelf at once. */
  const make = (shelf: Shelf): Promise<void> => {
    const ready = Promise.withResolvers<void>()
    const sandbox = backend.prepare(shelf.lang.profile)
    const onEvent = (event: AgentOutput): void => {
      if (event.type !== 'status') return
      if (event.state === 'ready') ready.resolve()
      else ready.reject(new Error('its interpreter ended'))
    }
    const spare: Spare = {
      ...toCandidate(sandbox, { isWarm: true, onEvent, onLost: ready.reject }),
      isReady: false,
      checkedAt: performance.now(),
      leave: ready.resolve,
    }
    shelf.spares.add(spare)
    const late = setTimeout(
      () => ready.reject(new Error(`not ready in ${READY_TIMEOUT_MS} ms`)),
      READY_TIMEOUT_MS,
    )
    sandbox.then(({ exited }) => exited.then(() => ready.reject(new Error('it ended'))), ready.reject)
    spare.link.catch(ready.reject)
    const done = ready.promise.finally(() => clearTimeout(late))
    return done.then(
      () => {
        if (!shelf.spares.has(spare)) return
        spare.isReady = true
        shelf.retryMs = MIN_RETRY_MS
        const drop = (): void => discard(shelf, spare)
        void spare.link.then(
          (link) => shelf.spares.has(spare) && link.listen({ onEvent: drop, onLost: drop }),
        )
        void sandbox.then(({ exited }) => exited.then(drop))
      },
      (err) => {
        if (!shelf.spares.has(spare)) return
        const { lang } = shelf.lang.manifest
        logger.warn({ err, lang }, 'A warm sandbox could not be made.')
        observer.agentFailed(lang, 'warm-up')
        shelf.retryAt = performance.now() + shelf.retryMs
        shelf.retryMs = Math.min(2 * shelf.retryMs, MAX_RETRY_MS)
        discard(shelf, spare)
      },
    )
  }

  /** Makes what is missing, one after another. */
  const fill = (): void => {
    while (!isClosed && making < MADE_AT_ONCE && countAll() < maxWarm) {
      const shelf = [...shelves.values()].find(
        (each) => each.spares.size < wantedOf(each) && performance.now() >= each.retryAt,
      )
      if (!shelf) return
      making++
      void make(shelf).finally(() => {
        making--
        fill()
      })
    }
  }
  const scheduleRefill = (): void => {
    refill ??= setTimeout(() => {
      refill = undefined
      fill()
    }, REFILL_DELAY_MS).unref()
  }

  const noteDemand = (shelf: Shelf): void => {
    const now = performance.now()
    if (now - shelf.windowAt > DEMAND_WINDOW_MS) Object.assign(shelf, { windowAt: now, inWindow: 0 })
    shelf.inWindow++
    if (shelf.inWindow >= shelf.peak) Object.assign(shelf, { peak: shelf.inWindow, peakAt: now })
  }
  const toCandidate = (
    sandbox: Promise<Sandbox>,
    {
      isWarm,
      ...listener
    }: { isWarm: boolean; onEvent(event: AgentOutput): void; onLost(error: Error): void },
  ): Candidate => {
    const link = sandbox.then((made) =>
      createAgentLink({ connect: () => backend.connect(made), ...listener }),
    )
    // Whoever has it awaits the sandbox first.
    link.catch(() => {})
    return { isWarm, sandbox, link }
  }

  return {
    take(lang, network) {
      const shelf = shelfOf(lang)
      if (network === 'none' && !isClosed) {
        noteDemand(shelf)
        scheduleRefill()
        const spares = [...shelf.spares]
        const spare = spares.find(({ isReady }) => isReady) ?? spares[0]
        if (spare) {
          shelf.spares.delete(spare)
          spare.leave()
          return { isWarm: spare.isReady, sandbox: spare.sandbox, link: spare.link }
        }
      }
      return toCandidate(backend.prepare(lang.profile, network), {
        isWarm: false,
        onEvent: () => {},
        onLost: () => {},
      })
    },
    async open() {
      const firsts = Object.entries(warm).map(async ([name, count]) => {
        const lang = count > 0 && maxWarm > 0 ? await langs.find(name)?.load() : undefined
        if (lang && !isClosed) await make(shelfOf(lang))
      })
      await Promise.all(firsts)
      fill()
    },
    figures: () =>
      Promise.all(
        [...shelves.values()].map(async (shelf) => {
          const ready = [...shelf.spares].filter(({ isReady }) => isReady)
          const used = await Promise.all(
            ready.map(async ({ sandbox }) => (await backend.usage(await sandbox)).memoryBytes),
          )
          return {
            lang: shelf.lang.manifest.lang,
            ready: ready.length,
            wanted: wantedOf(shelf),
            memoryBytes: used.reduce((sum, bytes) => sum + bytes, 0),
          }
        }),
      ),
    sweep() {
      const now = performance.now()
      for (const shelf of shelves.values()) {
        if (now - shelf.peakAt > DEMAND_MS) Object.assign(shelf, { peak: 0, peakAt: now })
        const surplus = shelf.spares.size - wantedOf(shelf)
        for (const spare of [...shelf.spares].slice(0, Math.max(0, surplus))) discard(shelf, spare)
        for (const spare of shelf.spares) {
          if (!spare.isReady || now - spare.checkedAt < CHECK_EVERY_MS) continue
          spare.checkedAt = now
          void isAlive(spare).then((alive) => alive || discard(shelf, spare))
        }
      }
      fill()
    },
    async close() {
      isClosed = true
      clearTimeout(refill)
      for (const shelf of shelves.values()) for (const spare of shelf.spares) discard(shelf, spare)
      clearTimeout(refill)
      await Promise.all(ends)
    },
  }
}

async function isAlive({ link }: Candidate): Promise<boolean> {
  const late = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => late.resolve(false), CHECK_TIMEOUT_MS)
  const answered = link
    .then((each) => each.request('ping', {}))
    .then(
      () => true,
      () => false,
    )
  try {
    return await Promise.race([answered, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
