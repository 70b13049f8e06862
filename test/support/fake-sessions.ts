import { pino } from 'pino'
import type { Lang, LangEntry, Langs } from '../../packages/server/src/langs/lang.ts'
import { createObserver } from '../../packages/server/src/observe/observer.ts'
import {
  createSessions,
  type SessionsOptions,
  type SessionsOwner,
} from '../../packages/server/src/sessions/manager.ts'
import type { Quota } from '../../packages/server/src/sessions/quota.ts'
import type { FakeBackend } from './fake-backend.ts'

const fakeLang: Lang = {
  manifest: {
    lang: 'fake',
    aliases: ['f'],
    displayName: 'Fake',
    interpreter: '/bin/true',
    versionCommand: ['/bin/true'],
    install: 'nothing',
    minMemKb: 1000,
    features: ['complete', 'inspect'],
    includes: [],
    etc: [],
    kernelspecs: [],
    evaluator: { start: 'exec', argv: ['/bin/true'] },
  },
  profile: { name: 'fake', argv: [], files: [] },
}
const otherLang: Lang = { ...fakeLang, manifest: { ...fakeLang.manifest, lang: 'other', aliases: [] } }
const entryOf = (name: string, lang: Lang | undefined): LangEntry => {
  const install = `apt-get install ${name}`
  const info = { lang: name, aliases: [], displayName: '', version: '1', features: [] }
  return {
    name,
    install,
    info: async () => ({ ...info, available: lang !== undefined, ...(lang ? {} : { install }) }),
    load: async () => lang,
  }
}

/** Kernel types `fake` (alias `f`), `other`, and `absent`, which is not installed. */
export function createFakeLangs(): Langs {
  const shown = [entryOf('fake', fakeLang), entryOf('other', otherLang)]
  const [fake, other] = shown
  const entries = new Map(Object.entries({ fake, f: fake, other, absent: entryOf('absent', undefined) }))
  return {
    find: (name) => entries.get(name),
    names: () => shown.map(({ name }) => name),
    list: () => Promise.all(shown.map((entry) => entry.info())),
  }
}

/** Of every owner. */
export const QUOTA: Quota = {
  maxKernels: 10,
  maxMemoryKb: null,
  maxCpuMsPerDay: null,
  network: 'none',
  langs: null,
}

/** Sessions on the in-memory backend; see `createFakeLangs`. */
export function createFakeSessions(
  backend: FakeBackend,
  overrides: Partial<SessionsOptions> = {},
): SessionsOwner {
  return createSessions({
    backend,
    bootId: 'boot',
    langs: createFakeLangs(),
    warm: {},
    maxWarm: 0,
    limits: {
      memoryKb: { default: 50_000, max: 100_000 },
      queryTimeoutMs: { default: 60_000, max: 100_000 },
      idleTimeoutMs: { default: 60_000, max: 100_000 },
      cpuCreditMs: { default: 0, max: 0 },
    },
    quotaOf: () => QUOTA,
    ledger: { addUsage: () => {}, sumCpuMs: () => 0 },
    maxKernels: 20,
    maxProcesses: 10,
    maxQueued: 16,
    maxUploadBytes: 1_000_000,
    maxHeldCharacters: 2 ** 30,
    observer: createObserver(),
    logger: pino({ level: 'silent' }),
    ...overrides,
  })
}
