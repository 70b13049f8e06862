import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { ExecutionRecord, SessionRecord } from './session-store.ts'
import { createSqliteStore } from './sqlite-store.ts'
import type { Store } from './store.ts'

const SESSION: SessionRecord = {
  kernelId: 'TSSJT2Z4SnmQhxjWMnJljg',
  owner: 'AKIAEXAMPLE',
  token: "a token; DROP TABLE sessions --'",
  lang: 'python3',
  limits: { memoryKb: 1, queryTimeoutMs: 2, idleTimeoutMs: 3, maxCpuCreditMs: 0 },
  createdAt: 1_482_660_672_123,
  bootId: 'b',
  bornAt: 12.25,
  usedAt: 12.5,
  sandbox: { id: 'x', pids: [1, 2] },
}
const EXECUTION: ExecutionRecord = {
  kernelId: SESSION.kernelId,
  count: 1,
  id: 'an execution',
  codeId: 'mine',
  code: 'print("\ud83d\0ä")',
  acceptedAt: 1.5,
  startedAt: null,
  waitedMs: 0,
  unowned: { stdout: '\udc00', stderr: '' },
  oomKills: 0,
  answered: 0,
  asked: 0,
  fetched: false,
  end: null,
}

let folder: string
let whole: Store
let store: Store['sessions']
const files = (): string => path.join(folder, 'sessions')
const open = (): void => {
  whole = createSqliteStore(path.join(folder, 'cob.db'), () => ({
    bytes: Buffer.alloc(32, 7),
    source: 'a test',
  }))
  store = whole.sessions
}
/** What the next server finds. */
const reopen = (): void => {
  whole.close()
  open()
}
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'cob-sessions-'))
  open()
})
afterEach(() => {
  whole.close()
  rmSync(folder, { recursive: true })
})

test('sessions and their executions come back as they were, in order', () => {
  const other = { ...SESSION, kernelId: 'other', createdAt: 1 }
  store.addSession(SESSION)
  store.addSession(other)
  for (const count of [2, 10, 1]) store.putExecution({ ...EXECUTION, count })
  store.putExecution({ ...EXECUTION, count: 2, code: null, end: { by: 'restart', event: 7 } })
  store.useSessions([{ kernelId: SESSION.kernelId, usedAt: 99.5 }])
  const expected = [
    { session: other, executions: [] },
    {
      session: { ...SESSION, usedAt: 99.5 },
      executions: [
        { ...EXECUTION, count: 1 },
        { ...EXECUTION, count: 2, code: null, end: { by: 'restart', event: 7 } },
        { ...EXECUTION, count: 10 },
      ],
    },
  ]
  assert.deepEqual(store.liveSessions(), expected)
  reopen()
  assert.deepEqual(store.liveSessions(), expected)
  store.dropExecutions(SESSION.kernelId, 10)
  for (const again of [() => {}, reopen]) {
    again()
    assert.deepEqual(
      store.liveSessions()[1]?.executions.map(({ count }) => count),
      [10],
    )
  }
  assert.throws(() => store.addSession(SESSION))
  assert.equal(statSync(files()).mode & 0o777, 0o700)
  for (const name of readdirSync(files()))
    assert.equal(statSync(path.join(files(), name)).mode & 0o777, 0o600, name)
})

test('a session that ended is gone with its executions, and its reason stays until it is old', () => {
  const ended = { kernelId: SESSION.kernelId, owner: SESSION.owner, reason: 'crashed', at: 1000 } as const
  store.addSession(SESSION)
  store.putExecution(EXECUTION)
  store.endSession(ended)
  // One that was never there has a reason too.
  const earlier = { ...ended, kernelId: 'earlier', at: 500 }
  store.endSession(earlier)
  store.endSession({ ...ended, reason: 'user-requested', at: 1500 })
  assert.deepEqual(store.liveSessions(), [])
  assert.deepEqual(store.tombstones(), [earlier, { ...ended, reason: 'user-requested', at: 1500 }])
  // What comes too late is of nobody.
  store.putExecution(EXECUTION)
  store.useSessions([{ kernelId: SESSION.kernelId, usedAt: 1 }])
  // Whether there is room is tried out, and leaves nothing.
  whole.check()
  reopen()
  assert.deepEqual(store.liveSessions(), [])
  store.dropTombstones(1500)
  assert.deepEqual(
    store.tombstones().map(({ at }) => at),
    [1500],
  )
})

test('a session whose server ended while it was being removed has ended', () => {
  store.addSession(SESSION)
  cpSync(files(), path.join(folder, 'kept'), { recursive: true })
  store.endSession({ kernelId: SESSION.kernelId, owner: SESSION.owner, reason: 'crashed', at: 1000 })
  cpSync(path.join(folder, 'kept'), files(), { recursive: true })
  reopen()
  assert.deepEqual(store.liveSessions(), [])
  store.dropTombstones(2000)
  reopen()
  assert.deepEqual(store.liveSessions(), [])
})

test('folders that cannot be used are told by name, and nothing is written after the end', () => {
  store.addSession(SESSION)
  whole.close()
  assert.throws(() => store.putExecution(EXECUTION))
  open()
  assert.equal(store.liveSessions()[0]?.executions.length, 0)
  rmSync(files(), { recursive: true })
  writeFileSync(files(), '')
  assert.throws(() => store.liveSessions(), {
    message: /The sessions in .*sessions cannot be read or written: EEXIST/,
  })
})
