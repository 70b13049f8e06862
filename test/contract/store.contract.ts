import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { NO_LIMITS } from '@cob/protocol'
import { createKey } from '../../packages/server/src/store/key.ts'
import type { Key, Store } from '../../packages/server/src/store/store.ts'
import type { UsageRecord } from '../../packages/server/src/store/usage.ts'

export interface StoreContractOptions {
  /** A new, empty place. `open` may be called more than once: each is a process of its own on the same data. */
  readonly makePlace: () => { open(): Store; remove(): void }
}

const DAY_MS = 86_400_000
const NOON = 200 * DAY_MS + DAY_MS / 2

const key = (accessKey: string, more: Partial<Key> = {}): Key => ({
  ...createKey({ name: "of a test; DROP TABLE keys --'" }),
  accessKey,
  createdAt: 1_482_660_672_123,
  ...more,
})
const usage = (kernelId: string, more: Partial<UsageRecord> = {}): UsageRecord => ({
  kernelId,
  accessKey: 'AKIA',
  lang: 'python3',
  createdAt: NOON - 1000,
  endedAt: NOON,
  reason: 'user-requested',
  cpuMs: 100,
  cpuMsLastDay: 60,
  peakMemoryKb: 5000,
  executions: 3,
  outputBytes: 42,
  ...more,
})

/** What every store promises: the port's comments as tests. */
export function storeContract(name: string, { makePlace }: StoreContractOptions): void {
  describe(`store contract: ${name}`, () => {
    let place: ReturnType<typeof makePlace>
    let store: Store
    /** Another process. */
    let other: Store
    before(() => {
      place = makePlace()
      store = place.open()
      other = place.open()
    })
    after(() => {
      store.close()
      other.close()
      place.remove()
    })

    test('a key that was added is found as it was, any other is not', () => {
      const full = key('AKIAFULL', {
        role: 'admin',
        previous: { secretKey: 'the-one-before', validUntil: 5 },
        disabledAt: 6,
        expiresAt: 7,
        limits: {
          maxKernels: 1,
          maxMem: 2,
          rateLimit: 3,
          maxCpuPerDay: 4,
          network: 'egress',
          langs: ['python3'],
        },
      })
      store.addKey(full)
      store.addKey(key('AKIAPLAIN'))
      assert.deepEqual(store.findKey('AKIAFULL'), full)
      assert.deepEqual(store.findKey('AKIAPLAIN')?.limits, NO_LIMITS)
      assert.equal(store.findKey('akiafull'), undefined)
    })

    test('an access key can be added once', () => {
      const first = key('AKIAONCE')
      store.addKey(first)
      assert.throws(() => store.addKey(key('AKIAONCE')))
      assert.deepEqual(store.findKey('AKIAONCE'), first)
    })

    test('keys are listed oldest first', () => {
      store.addKey(key('AKIAOLDEST', { createdAt: 1 }))
      assert.equal(store.listKeys()[0]?.accessKey, 'AKIAOLDEST')
    })

    test('a change is seen at once, by this process and by every other', () => {
      store.addKey(key('AKIACHANGED'))
      // Both have read it before.
      for (const each of [store, other]) assert.equal(each.findKey('AKIACHANGED')?.disabledAt, null)
      const changed = store.changeKey('AKIACHANGED', (old) => ({
        ...old,
        disabledAt: 5,
        secretKey: 'new-one',
      }))
      assert.deepEqual([changed?.disabledAt, changed?.secretKey], [5, 'new-one'])
      for (const each of [store, other]) assert.deepEqual(each.findKey('AKIACHANGED'), changed)
      other.changeKey('AKIACHANGED', (old) => ({ ...old, disabledAt: null }))
      for (const each of [store, other]) assert.equal(each.findKey('AKIACHANGED')?.disabledAt, null)
    })

    test('a change that throws changes nothing, and one of no key tells so', () => {
      const before = key('AKIAKEPT')
      store.addKey(before)
      assert.throws(
        () =>
          store.changeKey('AKIAKEPT', () => {
            throw new Error('not this one')
          }),
        /not this one/,
      )
      assert.deepEqual(store.findKey('AKIAKEPT'), before)
      assert.equal(
        store.changeKey('AKIANOBODY', (old) => old),
        undefined,
      )
      store.changeKey('AKIAKEPT', (old) => ({ ...old, name: 'goes on' }))
      assert.equal(other.findKey('AKIAKEPT')?.name, 'goes on')
    })

    test('what a session used counts once, however often it is told, with the greater figures', () => {
      store.addUsage(usage('k1', { accessKey: 'AKIAUSES' }))
      store.addUsage(usage('k1', { accessKey: 'AKIAUSES', cpuMs: 40, reason: 'crashed' }))
      other.addUsage(usage('k1', { accessKey: 'AKIAUSES', cpuMs: 110, endedAt: NOON + 5 }))
      store.addUsage(
        usage('k2', { accessKey: 'AKIAUSES', cpuMs: 50, peakMemoryKb: 9000, endedAt: NOON + 1000 }),
      )
      assert.deepEqual(store.sumUsage({ accessKey: 'AKIAUSES' }), [
        {
          accessKey: 'AKIAUSES',
          sessions: 2,
          cpuMs: 160,
          executions: 6,
          outputBytes: 84,
          lifetimeMs: 3000,
          peakMemoryKb: 9000,
        },
      ])
    })

    test('usage is told by key and period, from the first moment up to the last but not with it', () => {
      const ends = [NOON, NOON + 1, NOON + 2]
      ends.forEach((endedAt, i) => {
        store.addUsage(usage(`p${i}`, { accessKey: 'AKIAPERIOD', endedAt }))
      })
      const idsOf = (from: number, to: number): string[] =>
        store.listUsage({ accessKey: 'AKIAPERIOD', from, to, limit: 10 }).map(({ kernelId }) => kernelId)
      assert.deepEqual(idsOf(NOON, NOON + 2), ['p0', 'p1'])
      assert.deepEqual(idsOf(NOON + 1, NOON + 1), [])
      assert.equal(store.sumUsage({ from: NOON + 2, accessKey: 'AKIAPERIOD' })[0]?.sessions, 1)
      assert.deepEqual(
        store.sumUsage({}).map(({ accessKey }) => accessKey),
        store
          .sumUsage({})
          .map(({ accessKey }) => accessKey)
          .sort(),
      )
    })

    test('usage is read page by page, each session whole and once', () => {
      const records = Array.from({ length: 5 }, (_, i) => usage(`page${i}`, { accessKey: 'AKIAPAGES' }))
      for (const record of records) store.addUsage(record)
      const read: UsageRecord[] = []
      for (let after: number | undefined; ; ) {
        const page = store.listUsage({ accessKey: 'AKIAPAGES', limit: 2, after })
        read.push(...page.map(({ id, ...record }) => record))
        after = page.at(-1)?.id
        if (page.length < 2) break
      }
      assert.deepEqual(read, records)
    })

    test('CPU time of a day is the sum of what ended in it', () => {
      assert.equal(store.sumCpuMs('AKIADAY', 0), 0)
      store.addUsage(usage('d1', { accessKey: 'AKIADAY', endedAt: NOON - DAY_MS }))
      store.addUsage(usage('d2', { accessKey: 'AKIADAY', cpuMsLastDay: 7 }))
      store.addUsage(usage('d3', { accessKey: 'AKIADAY', cpuMsLastDay: 8 }))
      assert.equal(store.sumCpuMs('AKIADAY', 200 * DAY_MS), 15)
    })

    test('the audit log is read newest first, by who did it or whom it is about, in a period', () => {
      const entry = (at: number, who: string, target: string | null) => ({
        at,
        who,
        target,
        action: 'key.disable' as const,
        requestId: 'r1',
        outcome: 'ok',
      })
      const entries = [entry(1, 'AKIAA', null), entry(2, 'AKIAB', 'AKIAA'), entry(3, 'AKIAB', 'AKIAC')]
      for (const each of entries) store.addAudit(each)
      const read = (query: object) => store.listAudit({ limit: 10, ...query }).map(({ id, ...rest }) => rest)
      assert.deepEqual(read({}), entries.toReversed())
      assert.deepEqual(read({ accessKey: 'AKIAA' }), [entries[1], entries[0]])
      assert.deepEqual(read({ from: 2, to: 3 }), [entries[1]])
      const [newest] = store.listAudit({ limit: 1 })
      assert.deepEqual(read({ after: newest?.id, limit: 1 }), [entries[1]])
    })

    test('what is too old, or too much, is forgotten', () => {
      const entry = {
        who: 'AKIAOLD',
        action: 'session.end',
        target: null,
        requestId: null,
        outcome: 'ok',
      } as const
      for (const at of [10, 20, 30, 40]) store.addAudit({ ...entry, at })
      const left = (): number[] => store.listAudit({ accessKey: 'AKIAOLD', limit: 10 }).map(({ at }) => at)
      store.pruneAudit(20, 1000)
      assert.deepEqual(left(), [40, 30, 20])
      store.pruneAudit(0, 2)
      assert.deepEqual(left(), [40, 30])
      store.addUsage(usage('old', { accessKey: 'AKIAOLD', endedAt: 10 }))
      store.addUsage(usage('new', { accessKey: 'AKIAOLD', endedAt: 20 }))
      store.pruneUsage(20)
      assert.deepEqual(
        store.listUsage({ accessKey: 'AKIAOLD', limit: 10 }).map(({ kernelId }) => kernelId),
        ['new'],
      )
    })

    test('everything is there when it is opened again', () => {
      const keys = store.listKeys()
      const again = place.open()
      assert.deepEqual(again.listKeys(), keys)
      assert.deepEqual(again.sumUsage({}), store.sumUsage({}))
      again.close()
    })
  })
}
