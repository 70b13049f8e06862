import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { EndReason } from '@cob/protocol'
import type { ExecutionRecord, SessionRecord, SessionStore, TombstoneRecord } from './session-store.ts'
import { inTransaction } from './sqlite-transaction.ts'

const SESSION_COLUMNS = `
    kernel_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at REAL NOT NULL,
    fields TEXT NOT NULL`
export const SESSION_TABLES = `
  CREATE TABLE sessions (${SESSION_COLUMNS}
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE executions (
    kernel_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (kernel_id, count)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE tombstones (
    kernel_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tombstones_by_time ON tombstones (at)`
/** What became of them: rows of more than a quarter of a page are better off in a table of their own than in an index. */
export const SESSIONS_AS_ROWS = `
  ALTER TABLE sessions RENAME TO old_sessions;
  CREATE TABLE sessions (${SESSION_COLUMNS}
  ) STRICT;
  INSERT INTO sessions SELECT * FROM old_sessions;
  DROP TABLE old_sessions`

type Row = Record<string, SQLOutputValue>

/** In a database with {@link SESSION_TABLES} and {@link SESSIONS_AS_ROWS}, on the connection of the keys: one more would make them forget what they keep decrypted. */
export function createSqliteSessionStore(db: DatabaseSync): SessionStore {
  const addSession = db.prepare('INSERT INTO sessions VALUES (?, ?, ?, ?, ?)')
  const useSession = db.prepare('UPDATE sessions SET used_at = ? WHERE kernel_id = ?')
  const dropSession = db.prepare('DELETE FROM sessions WHERE kernel_id = ?')
  const sessions = db.prepare('SELECT * FROM sessions ORDER BY created_at, kernel_id')
  const put = db.prepare('INSERT OR REPLACE INTO executions VALUES (?, ?, ?)')
  const drop = db.prepare('DELETE FROM executions WHERE kernel_id = ? AND count < ?')
  const executions = db.prepare('SELECT * FROM executions WHERE kernel_id = ? ORDER BY count')
  const bury = db.prepare('INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)')
  const tombstones = db.prepare('SELECT * FROM tombstones ORDER BY at')
  const dropTombstones = db.prepare('DELETE FROM tombstones WHERE at < ?')
  return {
    addSession({ kernelId, owner, createdAt, usedAt, ...fields }) {
      addSession.run(kernelId, owner, createdAt, usedAt, JSON.stringify(fields))
    },
    useSessions(used) {
      inTransaction(db, () => {
        for (const { kernelId, usedAt } of used) useSession.run(usedAt, kernelId)
      })
    },
    endSession({ kernelId, owner, reason, at }) {
      inTransaction(db, () => {
        drop.run(kernelId, Number.MAX_SAFE_INTEGER)
        dropSession.run(kernelId)
        bury.run(kernelId, owner, reason, at)
      })
    },
    putExecution({ kernelId, count, ...fields }) {
      // As JSON, half a character in the code stays what it is.
      put.run(kernelId, count, JSON.stringify(fields))
    },
    dropExecutions: (kernelId, before) => void drop.run(kernelId, before),
    liveSessions: () =>
      sessions.all().map((row) => {
        const session = toSession(row)
        return { session, executions: executions.all(session.kernelId).map(toExecution) }
      }),
    tombstones: () => tombstones.all().map(toTombstone),
    dropTombstones: (before) => void dropTombstones.run(before),
  }
}

/** Fields were written from values of these types. */
function toSession(row: Row): SessionRecord {
  const fields = JSON.parse(String(row.fields)) as Omit<
    SessionRecord,
    'kernelId' | 'owner' | 'createdAt' | 'usedAt'
  >
  return {
    ...fields,
    kernelId: String(row.kernel_id),
    owner: String(row.owner),
    createdAt: Number(row.created_at),
    usedAt: Number(row.used_at),
  }
}

function toExecution(row: Row): ExecutionRecord {
  const fields = JSON.parse(String(row.fields)) as Omit<ExecutionRecord, 'kernelId' | 'count'>
  return { ...fields, kernelId: String(row.kernel_id), count: Number(row.count) }
}

function toTombstone(row: Row): TombstoneRecord {
  return {
    kernelId: String(row.kernel_id),
    owner: String(row.owner),
    reason: String(row.reason) as EndReason,
    at: Number(row.at),
  }
}
