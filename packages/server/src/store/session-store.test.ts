import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, test } from 'node:test'
import type { ExecutionRecord, SessionRecord, SessionStore } from './session-store.ts'
import { createSqliteSessionStore, SESSION_TABLES, SESSIONS_AS_ROWS } from './sqlite-session-store.ts'

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

let store: SessionStore
beforeEach(() => {
  const db = new DatabaseSync(':memory:')
  db.exec(SESSION_TABLES)
  db.exec(SESSIONS_AS_ROWS)
  store = createSqliteSessionStore(db)
})

test('sessions and their executions come back as they were, in order', () => {
  const other = { ...SESSION, kernelId: 'other', createdAt: 1 }
  store.addSession(SESSION)
  store.addSession(other)
  for (const count of [2, 10, 1]) store.putExecution({ ...EXECUTION, count })
  store.putExecution({ ...EXECUTION, count: 2, code: null, end: { by: 'restart', event: 7 } })
  store.useSessions([{ kernelId: SESSION.kernelId, usedAt: 99.5 }])
  assert.deepEqual(store.liveSessions(), [
    { session: other, executions: [] },
    {
      session: { ...SESSION, usedAt: 99.5 },
      executions: [
        { ...EXECUTION, count: 1 },
        { ...EXECUTION, count: 2, code: null, end: { by: 'restart', event: 7 } },
        { ...EXECUTION, count: 10 },
      ],
    },
  ])
  store.dropExecutions(SESSION.kernelId, 10)
  assert.deepEqual(
    store.liveSessions()[1]?.executions.map(({ count }) => count),
    [10],
  )
  assert.throws(() => store.addSession(SESSION))
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
  store.addSession(SESSION)
  assert.deepEqual(store.liveSessions()[0]?.executions, [])
  store.dropTombstones(1500)
  assert.deepEqual(
    store.tombstones().map(({ at }) => at),
    [1500],
  )
})
