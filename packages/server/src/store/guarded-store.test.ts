import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { CobError } from '../errors.ts'
import { guardStore, type StoreAnswer } from './guarded-store.ts'
import { createKey } from './key.ts'
import { createSqliteStore } from './sqlite-store.ts'

test('a store that is guarded answers as before, tells of each answer, and its faults are not-recorded', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-guard-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'cob.db')
  const told: StoreAnswer[] = []
  const sqlite = createSqliteStore(file, () => ({ bytes: Buffer.alloc(32, 7), source: 'a test' }))
  const store = guardStore(sqlite, (answer) => {
    assert.ok(answer.durationMs >= 0)
    told.push(answer)
  })
  const key = createKey({ name: 'of a test' })
  store.addKey(key)
  assert.deepEqual(store.findKey(key.accessKey), key)
  // Errors of ours, and refusals, stay what they are.
  assert.throws(() => store.addKey(key), { code: 'ERR_SQLITE_ERROR' })
  const refuse = (): never => {
    throw CobError.of('last-admin', { accessKey: key.accessKey })
  }
  assert.throws(() => store.changeKey(key.accessKey, refuse), { code: 'last-admin' })

  const other = new DatabaseSync(file)
  other.exec('BEGIN IMMEDIATE')
  assert.throws(() => store.check(), { code: 'not-recorded', message: /database is locked/ })
  other.exec('ROLLBACK')
  other.close()
  store.check()
  assert.deepEqual(store.sessions.tombstones(), [])
  store.close()
  assert.deepEqual(
    told.map(({ operation, isError }) => operation + (isError ? ' failed' : '')),
    [
      ...['addKey', 'findKey', 'addKey', 'changeKey', 'check failed', 'check'],
      ...['sessions.tombstones', 'close'],
    ],
  )
})
