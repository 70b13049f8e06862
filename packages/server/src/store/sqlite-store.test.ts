import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { NO_LIMITS } from '@cob/protocol'
import { createKey } from './key.ts'
import { createMasterKeyOpener } from './master-key.ts'
import { createSessionFiles } from './session-files.ts'
import type { SessionRecord } from './session-store.ts'
import { SESSION_TABLES } from './sqlite-session-store.ts'
import { createSqliteStore } from './sqlite-store.ts'
import type { Key, Store } from './store.ts'

const KEY: Key = { ...createKey(), accessKey: 'AKIAEXAMPLE', secretKey: 'a-secret-of-the-tests' }

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-store-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}
const newFile = (t: TestContext): string => path.join(newFolder(t), 'cob.db')
const open = (file: string, wanted?: string): Store =>
  createSqliteStore(file, createMasterKeyOpener(path.join(path.dirname(file), 'master-key'), wanted))

/** Every byte of the database and what is beside it, but for the master key. */
const bytesBeside = (file: string): string =>
  readdirSync(path.dirname(file))
    .filter((name) => name !== 'master-key')
    .map((name) => readFileSync(path.join(path.dirname(file), name), 'latin1'))
    .join()

/** As the first version of Cob kept keys: readable. */
function writeOldDatabase(file: string): void {
  const db = new DatabaseSync(file)
  db.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE keys (access_key TEXT PRIMARY KEY, secret_key TEXT NOT NULL, name TEXT NOT NULL, created_at INTEGER NOT NULL,
      disabled_at INTEGER) STRICT, WITHOUT ROWID;
    ALTER TABLE keys ADD COLUMN network TEXT;
    PRAGMA user_version = 2`)
  const insert = db.prepare('INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)')
  insert.run('AKIAOLD', 'an-old-readable-secret', 'old', 5, null, 'egress')
  // One that is gone, in a place that is free now.
  insert.run('AKIAGONE', `a-readable-secret-${'long'.repeat(2000)}`, 'gone', 6, 7, null)
  db.exec("DELETE FROM keys WHERE access_key = 'AKIAGONE'")
  db.close()
}

test('nobody else can read the database or the master key, even in a copy that came with another mode', (t) => {
  const file = newFile(t)
  writeFileSync(file, '')
  chmodSync(file, 0o644)
  const store = open(file)
  store.addKey(KEY)
  const folder = path.dirname(file)
  assert.ok(readdirSync(folder).includes('master-key'))
  for (const name of readdirSync(folder))
    assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o600, name)
  store.close()
})

test('a copy of the database has no secret in it, also of keys that were changed', (t) => {
  const file = newFile(t)
  const store = open(file)
  store.addKey(KEY)
  store.changeKey(KEY.accessKey, (key) => ({
    ...key,
    secretKey: 'another-secret',
    previous: { secretKey: key.secretKey, validUntil: 9 },
  }))
  for (const secret of [KEY.secretKey, 'another-secret']) assert.ok(!bytesBeside(file).includes(secret))
  store.close()
  assert.ok(!bytesBeside(file).includes(KEY.secretKey))
  rmSync(path.join(path.dirname(file), 'master-key'))
  assert.throws(() => open(file), /master-key is missing, and without it the secrets.*COB_MASTER_KEY/)
})

test('secrets of the first version are encrypted, and nothing of the readable ones is left in the file', (t) => {
  const file = newFile(t)
  writeOldDatabase(file)
  assert.ok(bytesBeside(file).includes('an-old-readable-secret'))
  assert.ok(bytesBeside(file).includes('a-readable-secret-long'))
  const store = open(file)
  const found = store.findKey('AKIAOLD')
  assert.deepEqual(found, {
    accessKey: 'AKIAOLD',
    secretKey: 'an-old-readable-secret',
    previous: null,
    name: 'old',
    role: 'user',
    createdAt: 5,
    disabledAt: null,
    expiresAt: null,
    limits: { ...NO_LIMITS, network: 'egress' },
  } satisfies Key)
  assert.ok(!bytesBeside(file).includes('readable-secret'), 'while it is open')
  store.close()
  assert.ok(!bytesBeside(file).includes('readable-secret'), 'when it is closed')
})

test('a clean-up that another reader stood in the way of is done at the next start', (t) => {
  const file = newFile(t)
  writeOldDatabase(file)
  // Holds on to what was there before.
  const reader = new DatabaseSync(file)
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM keys').get()
  open(file).close()
  reader.exec('COMMIT')
  reader.close()
  open(file).close()
  assert.ok(!bytesBeside(file).includes('readable-secret'))
})

test('a wrong master key stops the start and says which one it was', (t) => {
  const file = newFile(t)
  open(file, 'ab'.repeat(32)).close()
  assert.throws(() => open(file, 'cd'.repeat(32)), /COB_MASTER_KEY is not the master key/)
  open(file, 'AB'.repeat(32)).close()
  const folder = path.dirname(file)
  writeFileSync(path.join(folder, 'master-key'), 'ef'.repeat(32))
  assert.throws(() => open(file), /master-key is not the master key that the secrets/)
  writeFileSync(path.join(folder, 'master-key'), 'nonsense')
  assert.throws(() => open(file), /master-key is no master key: it must hold 64 hexadecimal digits/)
})

test('a secret put into the row of another key cannot be read', (t) => {
  const file = newFile(t)
  const store = open(file)
  store.addKey(KEY)
  store.addKey({ ...KEY, accessKey: 'AKIATHIEF', secretKey: 'known-to-the-thief' })
  store.close()
  const db = new DatabaseSync(file)
  db.exec(`UPDATE keys SET secret_key = (SELECT secret_key FROM keys WHERE access_key = 'AKIATHIEF')
    WHERE access_key = 'AKIAEXAMPLE'`)
  db.close()
  const again = open(file)
  assert.throws(() => again.findKey('AKIAEXAMPLE'))
  again.close()
})

test('sessions and executions that an earlier version recorded are there', (t) => {
  const file = newFile(t)
  writeOldDatabase(file)
  const db = new DatabaseSync(file)
  db.exec(`${SESSION_TABLES}; PRAGMA user_version = 3`)
  db.exec(
    `INSERT INTO sessions VALUES ('a', 'AKIAOLD', 1, 1.5, '{"token":"of a"}'), ('b', 'AKIAOLD', 2, 2.5, '{"token":"of b"}'), ('c', 'AKIAOLD', 3, 9, '{"token":"older"}')`,
  )
  db.exec(`INSERT INTO executions VALUES ('b', 7, '{"id":"seventh"}')`)
  db.close()
  // An earlier start did not come to its end.
  const earlier = createSessionFiles(path.join(path.dirname(file), 'sessions'))
  const isThere: SessionRecord = {
    kernelId: 'c',
    owner: 'AKIAOLD',
    token: 'of c',
    lang: 'python3',
    limits: { memoryKb: 1, queryTimeoutMs: 2, idleTimeoutMs: 3, maxCpuCreditMs: 0 },
    createdAt: 3,
    bootId: 'b',
    bornAt: 3,
    usedAt: 3.5,
    sandbox: {},
  }
  earlier.importSession({ session: isThere, executions: [] })
  earlier.close()
  const store = open(file)
  const found = store.sessions.liveSessions()
  const [first] = found
  assert.ok(first)
  assert.deepEqual(
    found.map(({ session, executions }) => [
      session.kernelId,
      session.token,
      session.usedAt,
      executions.length,
    ]),
    [
      ['a', 'of a', 1.5, 0],
      ['b', 'of b', 2.5, 1],
      ['c', 'of c', 3.5, 0],
    ],
  )
  assert.throws(() => store.sessions.addSession(first.session), /there is a session a/)
  store.close()
})

test('a file of a newer version, or of something else, is refused by name and left as it was', (t) => {
  const newer = newFile(t)
  const db = new DatabaseSync(newer)
  db.exec('PRAGMA user_version = 99')
  db.close()
  assert.throws(() => open(newer), /cob\.db was written by a newer version of Cob \(schema 99/)
  const foreign = newFile(t)
  writeFileSync(foreign, 'this is no database, and long enough to show it\n'.repeat(100))
  assert.throws(
    () => open(foreign),
    /cob\.db cannot be used: file is not a database\. Restore it from a backup/,
  )
  assert.equal(statSync(foreign).size, 4800)
})
