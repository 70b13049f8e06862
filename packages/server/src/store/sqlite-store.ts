import { closeSync, fchmodSync, openSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { OpenMasterKey } from './master-key.ts'
import { createSessionFiles, type SessionFiles } from './session-files.ts'
import { createSqliteAudit } from './sqlite-audit.ts'
import { createSqliteKeys } from './sqlite-keys.ts'
import { createSqliteSessionStore, moveToFiles, SESSION_TABLES } from './sqlite-session-store.ts'
import { createSqliteUsage } from './sqlite-usage.ts'
import { forgetOld, openVault, sealSecrets } from './sqlite-vault.ts'
import type { Store } from './store.ts'

interface Beside {
  readonly openMasterKey: OpenMasterKey
  readonly sessionFiles: SessionFiles
}
type Migration = string | ((db: DatabaseSync, beside: Beside) => void)

/** Forward only: the database's `user_version` counts those that ran. */
const MIGRATIONS: readonly Migration[] = [
  `CREATE TABLE keys (
     access_key TEXT PRIMARY KEY,
     secret_key TEXT NOT NULL,
     name TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     disabled_at INTEGER
   ) STRICT, WITHOUT ROWID`,
  'ALTER TABLE keys ADD COLUMN network TEXT',
  SESSION_TABLES,
  `CREATE TABLE vault (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     proof TEXT NOT NULL,
     holds_old INTEGER NOT NULL
   ) STRICT`,
  (db, { openMasterKey }) => sealSecrets(db, openVault(db, openMasterKey)),
  `ALTER TABLE keys ADD COLUMN previous_secret TEXT;
   ALTER TABLE keys ADD COLUMN previous_until INTEGER;
   ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'user';
   ALTER TABLE keys ADD COLUMN expires_at INTEGER;
   ALTER TABLE keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
   UPDATE keys SET limits = json_set(limits, '$.network', network);
   ALTER TABLE keys DROP COLUMN network`,
  `CREATE TABLE usage (
     id INTEGER PRIMARY KEY,
     kernel_id TEXT NOT NULL UNIQUE,
     access_key TEXT NOT NULL,
     lang TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     ended_at INTEGER NOT NULL,
     reason TEXT NOT NULL,
     cpu_ms INTEGER NOT NULL,
     cpu_ms_last_day INTEGER NOT NULL,
     peak_memory_kb INTEGER NOT NULL,
     executions INTEGER NOT NULL,
     output_bytes INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX usage_by_key ON usage (access_key, ended_at);
   CREATE INDEX usage_by_end ON usage (ended_at)`,
  `CREATE TABLE audit (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     at INTEGER NOT NULL,
     who TEXT NOT NULL,
     action TEXT NOT NULL,
     target TEXT,
     request_id TEXT,
     outcome TEXT NOT NULL
   ) STRICT;
   CREATE INDEX audit_by_time ON audit (at)`,
  // Gave sessions another form of table, which the next one drops.
  '',
  (db, { sessionFiles }) => moveToFiles(db, sessionFiles),
]
/** How long another process that writes is waited for: while a server serves, everybody waits with it. */
const BUSY_TIMEOUT_MS = { start: 5000, serving: 50 } as const

/**
 * The embedded store: SQLite at `file`, mode 0600, readable by a second process at the same time; secrets in it are encrypted. Sessions that
 * go on are in files beside it, in `sessions`. Throws a readable error when the database was written by a newer version, is no database, or
 * the master key is not its own.
 */
export function createSqliteStore(file: string, openMasterKey: OpenMasterKey): Store {
  makePrivate(file)
  const sessionFiles = createSessionFiles(path.join(path.dirname(file), 'sessions'))
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS.start })
  try {
    // The first to read the file. What is written survives the end of this process; that of the machine only where it says so.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    migrate(db, file, { openMasterKey, sessionFiles })
    const vault = openVault(db, openMasterKey)
    forgetOld(db)
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS.serving}`)
    return {
      ...createSqliteKeys(db, vault),
      ...createSqliteUsage(db),
      ...createSqliteAudit(db),
      sessions: createSqliteSessionStore(db, sessionFiles),
      check() {
        // Writes the page that it is in, whatever it was.
        db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`)
        sessionFiles.check()
      },
      close() {
        sessionFiles.close()
        db.close()
      },
    }
  } catch (error) {
    sessionFiles.close()
    db.close()
    throw toReadable(error, file)
  }
}

/** What to do about SQLite's result codes (https://sqlite.org/rescode.html). */
const DAMAGED =
  'Restore it from a backup, or move it away with all that is called like it, and the folder sessions beside it: the server starts with a new first key then, and without the keys, usage and sessions there were.'
const ADVICE: Readonly<Record<number, string>> = {
  5: 'Another program holds a lock on it; end that one.',
  8: 'Let this user write it, and its folder.',
  10: 'The disk it is on does not work.',
  11: DAMAGED,
  13: 'Make room on the disk it is on.',
  26: DAMAGED,
}

function toReadable(error: unknown, file: string): unknown {
  if (!(error instanceof Error && 'errcode' in error && typeof error.errcode === 'number')) return error
  // The lowest byte; the others tell details.
  const advice = ADVICE[error.errcode & 0xff] ?? ''
  return new Error(`${file} cannot be used: ${error.message}. ${advice}`.trimEnd(), { cause: error })
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

function migrate(db: DatabaseSync, file: string, beside: Beside): void {
  db.exec('BEGIN IMMEDIATE')
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version > MIGRATIONS.length) {
    throw new Error(
      `${file} was written by a newer version of Cob (schema ${version}; this one knows ${MIGRATIONS.length}). Update Cob.`,
    )
  }
  for (const migration of MIGRATIONS.slice(version)) {
    if (typeof migration === 'string') db.exec(migration)
    else migration(db, beside)
  }
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`)
}
