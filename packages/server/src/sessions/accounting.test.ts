import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { createTemporaryStore } from '../../../../test/support/temporary-store.ts'
import { createAccounting } from './accounting.ts'

const DAY_MS = 86_400_000
const MIDNIGHT = 20_000 * DAY_MS
const OWNER = 'AKIDOWNER'
const FIGURES = { peakMemoryBytes: 5000, executions: 2, outputBytes: 3 }
const session = (kernelId: string, createdAt = MIDNIGHT) => ({
  kernelId,
  owner: OWNER,
  lang: 'fake',
  createdAt,
})

function start(at: number) {
  const store = createTemporaryStore()
  const clock = { now: at }
  const open = (ledger: Parameters<typeof createAccounting>[0]['ledger'] = store) =>
    createAccounting({ ledger, logger: pino({ level: 'silent' }), now: () => clock.now })
  return { store, clock, open }
}

test('CPU time of a day is that of live sessions and of those that ended, each counted once', () => {
  const { store, clock, open } = start(MIDNIGHT + 1000)
  const accounting = open()
  const one = accounting.open(session('one'))
  const two = accounting.open(session('two'))
  one.charge(100)
  one.charge(100)
  two.charge(30)
  assert.equal(accounting.cpuMsToday(OWNER), 130)
  clock.now += 1
  one.close({ reason: 'idle-timeout', at: clock.now }, { ...FIGURES, cpuMs: 150 })
  assert.equal(accounting.cpuMsToday(OWNER), 180)
  assert.equal(accounting.cpuMsToday('AKIDELSE'), 0)
  assert.equal(open().cpuMsToday(OWNER), 150, 'a server that starts anew knows what ended')
  const [record] = store.listUsage({ limit: 10 })
  assert.deepEqual([record?.cpuMs, record?.peakMemoryKb, record?.reason], [150, 5, 'idle-timeout'])
})

test('at midnight the day starts anew, and a session that goes on counts from there', () => {
  const { store, clock, open } = start(MIDNIGHT - 1000)
  const accounting = open()
  const account = accounting.open(session('long', clock.now))
  account.charge(700)
  clock.now = MIDNIGHT - 1
  assert.equal(accounting.cpuMsToday(OWNER), 700)
  clock.now = MIDNIGHT
  assert.equal(accounting.cpuMsToday(OWNER), 0)
  account.charge(710)
  assert.equal(accounting.cpuMsToday(OWNER), 10)
  account.close({ reason: 'crashed', at: clock.now }, { ...FIGURES, cpuMs: 720 })
  const [record] = store.listUsage({ limit: 10 })
  assert.deepEqual([record?.cpuMs, record?.cpuMsLastDay], [720, 20])
  assert.equal(open().cpuMsToday(OWNER), 20)
})

test('what a session used before this server had it counts for today if it was created today', () => {
  const { clock, open } = start(MIDNIGHT + 5000)
  const accounting = open()
  accounting.open(session('of today', MIDNIGHT + 1)).charge(300)
  const old = accounting.open(session('of yesterday', MIDNIGHT - 1))
  old.charge(5000)
  assert.equal(accounting.cpuMsToday(OWNER), 300)
  old.charge(5020)
  assert.equal(accounting.cpuMsToday(OWNER), 320)
  old.close({ reason: 'crashed', at: clock.now }, { ...FIGURES, cpuMs: 5020 })
  assert.equal(open().cpuMsToday(OWNER), 20)
})

test('an end is written at once, and again with what was used up to it', () => {
  const { store, clock, open } = start(MIDNIGHT)
  const account = open().open(session('one'))
  account.close({ reason: 'crashed', at: clock.now }, { ...FIGURES, cpuMs: 100, peakMemoryBytes: 0 })
  account.close({ reason: 'crashed', at: clock.now }, { ...FIGURES, cpuMs: 130 })
  const [sum] = store.sumUsage({})
  assert.deepEqual([sum?.sessions, sum?.cpuMs, sum?.peakMemoryKb], [1, 130, 5])
})

test('figures that fall, as those of a cgroup that is gone, take nothing back', () => {
  const { clock, open } = start(MIDNIGHT)
  const accounting = open()
  const account = accounting.open(session('gone'))
  account.charge(100)
  account.charge(0)
  assert.equal(accounting.cpuMsToday(OWNER), 100)
  account.close({ reason: 'crashed', at: clock.now }, { ...FIGURES, cpuMs: 0 })
  assert.equal(accounting.cpuMsToday(OWNER), 100)
})

test('what cannot be written is written later, once', () => {
  const { store, clock, open } = start(MIDNIGHT)
  let isFull = true
  const accounting = open({
    sumCpuMs: store.sumCpuMs,
    addUsage(record) {
      if (isFull) throw new Error('database or disk is full')
      store.addUsage(record)
    },
  })
  accounting
    .open(session('late'))
    .close({ reason: 'user-requested', at: clock.now }, { ...FIGURES, cpuMs: 5 })
  accounting.sweep()
  assert.deepEqual(store.sumUsage({}), [])
  isFull = false
  accounting.sweep()
  accounting.sweep()
  assert.equal(store.sumUsage({})[0]?.sessions, 1)
})

test('a ledger that can be neither read nor written keeps no session from ending, and is told all of it later', () => {
  const { store, clock, open } = start(MIDNIGHT + 1000)
  let isBroken = true
  const check = (): void => {
    if (isBroken) throw new Error('disk full')
  }
  const accounting = open({
    addUsage(record) {
      check()
      store.addUsage(record)
    },
    sumCpuMs(owner, since) {
      check()
      return store.sumCpuMs(owner, since)
    },
  })
  const one = accounting.open(session('one'))
  one.charge(100)
  one.close({ reason: 'idle-timeout', at: clock.now }, { ...FIGURES, cpuMs: 150 })
  accounting.sweep()
  assert.deepEqual(store.listUsage({ limit: 10 }), [])
  isBroken = false
  accounting.sweep()
  assert.equal(store.listUsage({ limit: 10 })[0]?.cpuMs, 150)
  assert.equal(accounting.cpuMsToday(OWNER), 150)
})
