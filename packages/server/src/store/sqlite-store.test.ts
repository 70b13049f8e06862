import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { createSqliteStore } from './sqlite-store.ts'
import type { Key } from './store.ts'

const KEY: Key = {
  accessKey: 'AKIAEXAMPLE',
  secretKey: 'a-secret-of-the-tests',
  name: "of a test; DROP TABLE keys --'",
  createdAt: 1_482_660_672_123,
  disabledAt: null,
  network: null,
}

function newFile(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-store-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return path.join(folder, 'cob.db')
}

test('a key that was added is found and listed, any other is not', () => {
  const store = createSqliteStore(':memory:')
  assert.deepEqual([store.findKey(KEY.accessKey), store.listKeys()], [undefined, []])
  store.addKey(KEY)
  const older = { ...KEY, accessKey: 'AKIAOLDER', createdAt: 1 }
  store.addKey(older)
  assert.deepEqual(store.findKey(KEY.accessKey), KEY)
  assert.equal(store.findKey(KEY.accessKey.toLowerCase()), undefined)
  assert.deepEqual(store.listKeys(), [older, KEY])
  store.close()
})

test('an access key can be added once', () => {
  const store = createSqliteStore(':memory:')
  store.addKey(KEY)
  assert.throws(() => store.addKey({ ...KEY, secretKey: 'another-secret' }))
  assert.deepEqual(store.listKeys(), [KEY])
  store.close()
})

test('disabling keeps the first time, and tells when there is no such key', () => {
  const store = createSqliteStore(':memory:')
  store.addKey(KEY)
  assert.equal(store.disableKey(KEY.accessKey, 5), true)
  assert.equal(store.disableKey(KEY.accessKey, 6), true)
  assert.equal(store.findKey(KEY.accessKey)?.disabledAt, 5)
  assert.equal(store.disableKey('AKIANOBODY', 5), false)
  store.close()
})

test('keys outlive the store, and a second process sees them while the first has it open', (t) => {
  const file = newFile(t)
  const first = createSqliteStore(file)
  first.addKey(KEY)
  const second = createSqliteStore(file)
  assert.deepEqual(second.findKey(KEY.accessKey), KEY)
  second.disableKey(KEY.accessKey, 7)
  assert.equal(first.findKey(KEY.accessKey)?.disabledAt, 7)
  first.close()
  second.close()
  const third = createSqliteStore(file)
  assert.equal(third.listKeys().length, 1)
  third.close()
})

test('nobody else can read the secrets, even in a copy that came with another mode', (t) => {
  const file = newFile(t)
  writeFileSync(file, '')
  chmodSync(file, 0o644)
  const store = createSqliteStore(file)
  store.addKey(KEY)
  const folder = path.dirname(file)
  assert.ok(readdirSync(folder).length > 1)
  for (const name of readdirSync(folder))
    assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o600, name)
  store.close()
})

test('a file of a newer version, or of something else, is refused by name and left as it was', (t) => {
  const newer = newFile(t)
  const db = new DatabaseSync(newer)
  db.exec('PRAGMA user_version = 99')
  db.close()
  assert.throws(() => createSqliteStore(newer), /cob\.db was written by a newer version of Cob \(schema 99/)
  const foreign = newFile(t)
  writeFileSync(foreign, 'this is no database, and long enough to show it\n'.repeat(100))
  assert.throws(
    () => createSqliteStore(foreign),
    /cob\.db cannot be used as the store of keys: file is not a database/,
  )
  assert.equal(statSync(foreign).size, 4800)
})
