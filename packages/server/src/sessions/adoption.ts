import type { Backend } from '../backend/backend.ts'
import type { Lang, Langs } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import type { LiveSession, SessionRecord } from '../store/session-store.ts'
import type { Account, Accounting } from './accounting.ts'
import type { Owner } from './owner.ts'
import type { Session } from './session.ts'
import type { Ending } from './tombstones.ts'

/** Sessions that are taken over at once. */
const AT_ONCE = 64

export interface AdoptionOptions {
  readonly backend: Backend
  readonly langs: Langs
  /** Of the machine, this time. */
  readonly bootId: string
  readonly accounting: Accounting
  readonly logger: Logger
  /** Makes a session of ours of a record; it has no sandbox yet. */
  readonly resume: (record: SessionRecord, lang: Lang, account: Account) => Session
  /** Writes down that one has ended. */
  readonly bury: (kernelId: string, owner: Owner, ending: Ending) => void
}

/** Takes over sessions of an earlier server. Resolves when each goes on, or has ended with a reason. */
export async function adoptAll(sessions: readonly LiveSession[], options: AdoptionOptions): Promise<void> {
  const waiting = [...sessions]
  const adoptNext = async (): Promise<void> => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { kernelId } = next.session
      await adopt(next, options).catch((err) =>
        options.logger.error({ err, kernelId }, 'The sandbox could not be removed.'),
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, adoptNext))
}

async function adopt({ session: record, executions }: LiveSession, options: AdoptionOptions): Promise<void> {
  const account = options.accounting.open(record)
  const isOfThisBoot = record.bootId === options.bootId
  const lang = isOfThisBoot ? await options.langs.find(record.lang)?.load() : undefined
  if (lang) await options.resume(record, lang, account).adopt(record, executions)
  else await abandon(record, executions.at(-1)?.count ?? 0, isOfThisBoot, account, options)
}

/** Ends one that cannot go on: the machine has been started anew, or has lost its interpreter. */
async function abandon(
  { kernelId, owner, sandbox }: SessionRecord,
  executions: number,
  isOfThisBoot: boolean,
  account: Account,
  { backend, bury }: AdoptionOptions,
): Promise<void> {
  const left = isOfThisBoot ? await backend.adopt(sandbox).catch(() => {}) : undefined
  const ending: Ending = { reason: 'server-shutdown', at: Date.now() }
  account.close(ending, {
    cpuMs: left ? (await backend.usage(left)).cpuMs : 0,
    peakMemoryBytes: left ? await backend.peakMemory(left) : 0,
    executions,
    outputBytes: 0,
  })
  if (left) await backend.destroy(left)
  bury(kernelId, owner, ending)
}
