import { closeSync, fchmodSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { NETWORKS } from '@cob/protocol'
import { createSqliteSessionStore, SESSION_TABLES } from './sqlite-session-store.ts'
import type { Key, Store } from './store.ts'

/** Forward only: the database's `user_version` counts those that ran. */
const MIGRATIONS = [
  `CREATE TABLE keys (
     access_key TEXT PRIMARY KEY,
     secret_key TEXT NOT NULL,
     name TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     disabled_at INTEGER
   ) STRICT, WITHOUT ROWID`,
  'ALTER TABLE keys ADD COLUMN network TEXT',
  SESSION_TABLES,
]
const BUSY_TIMEOUT_MS = 5000

/**
 * The embedded store: SQLite at `file`, mode 0600, readable by a second process at the same time. Throws a readable error when the
 * database was written by a newer version or is no database.
 */
export function createSqliteStore(file: string): Store {
  if (file !== ':memory:') makePrivate(file)
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  try {
    configure(db, file)
    migrate(db, file)
  } catch (error) {
    db.close()
    throw error
  }
  const sessions = openSessions(db, file)
  const insert = db.prepare(
    'INSERT INTO keys (access_key, secret_key, name, created_at, disabled_at, network) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const select = db.prepare('SELECT * FROM keys WHERE access_key = ?')
  const selectAll = db.prepare('SELECT * FROM keys ORDER BY created_at, access_key')
  const disable = db.prepare('UPDATE keys SET disabled_at = coalesce(disabled_at, ?) WHERE access_key = ?')
  return {
    addKey(key) {
      insert.run(key.accessKey, key.secretKey, key.name, key.createdAt, key.disabledAt, key.network)
    },
    findKey(accessKey) {
      const row = select.get(accessKey)
      return row && toKey(row)
    },
    listKeys: () => selectAll.all().map(toKey),
    disableKey: (accessKey, at) => disable.run(at, accessKey).changes > 0,
    sessions: createSqliteSessionStore(sessions),
    close() {
      if (sessions !== db) sessions.close()
      db.close()
    },
  }
}

/**
 * A second connection, which does not wait for the disk at each commit: what it writes is of use for as long as the machine runs, and
 * survives the end of this process. A database in memory has one connection.
 */
function openSessions(db: DatabaseSync, file: string): DatabaseSync {
  if (file === ':memory:') return db
  const sessions = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  sessions.exec('PRAGMA synchronous = NORMAL')
  return sessions
}

/** Made here, so that it never exists with another mode; a copy put back from elsewhere may have come with one. */
function makePrivate(file: string): void {
  const descriptor = openSync(file, 'a', 0o600)
  try {
    fchmodSync(descriptor, 0o600)
  } finally {
    closeSync(descriptor)
  }
}

function configure(db: DatabaseSync, file: string): void {
  try {
    // The first to read the file.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${file} cannot be used as the store of keys: ${why}.`, { cause })
  }
}

function migrate(db: DatabaseSync, file: string): void {
  db.exec('BEGIN IMMEDIATE')
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version > MIGRATIONS.length) {
    throw new Error(
      `${file} was written by a newer version of Cob (schema ${version}; this one knows ${MIGRATIONS.length}). Update Cob.`,
    )
  }
  for (const statement of MIGRATIONS.slice(version)) db.exec(statement)
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`)
}

/** The columns are of the types the table declares (STRICT). */
function toKey(row: Record<string, SQLOutputValue>): Key {
  return {
    accessKey: String(row.access_key),
    secretKey: String(row.secret_key),
    name: String(row.name),
    createdAt: Number(row.created_at),
    disabledAt: row.disabled_at === null ? null : Number(row.disabled_at),
    network: NETWORKS.find((network) => network === row.network) ?? null,
  }
}
