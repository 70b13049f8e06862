import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { EndReason } from '@cob/protocol'
import type { SessionFiles } from './session-files.ts'
import type { ExecutionRecord, SessionRecord, SessionStore, TombstoneRecord } from './session-store.ts'

export const SESSION_TABLES = `
  CREATE TABLE sessions (
    kernel_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at REAL NOT NULL,
    fields TEXT NOT NULL
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

/** Puts what tables had into files. Fields were written from values of these types. */
export function moveToFiles(db: DatabaseSync, files: SessionFiles): void {
  const executions = db.prepare('SELECT * FROM executions WHERE kernel_id = ? ORDER BY count')
  for (const row of db.prepare('SELECT * FROM sessions').all()) {
    const kernelId = String(row.kernel_id)
    const fields = JSON.parse(String(row.fields)) as Omit<
      SessionRecord,
      'kernelId' | 'owner' | 'createdAt' | 'usedAt'
    >
    files.importSession({
      session: {
        ...fields,
        kernelId,
        owner: String(row.owner),
        createdAt: Number(row.created_at),
        usedAt: Number(row.used_at),
      },
      executions: executions.all(kernelId).map(({ count, fields }) => {
        const rest = JSON.parse(String(fields)) as Omit<ExecutionRecord, 'kernelId' | 'count'>
        return { ...rest, kernelId, count: Number(count) }
      }),
    })
  }
  // Code is in them.
  db.exec('PRAGMA secure_delete = ON; DROP TABLE sessions; DROP TABLE executions; PRAGMA secure_delete = OFF')
}

/** Sessions that go on in files, and why others ended in a database. */
export function createSqliteSessionStore(db: DatabaseSync, files: SessionFiles): SessionStore {
  const bury = db.prepare('INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)')
  const tombstones = db.prepare('SELECT * FROM tombstones ORDER BY at')
  const dropTombstones = db.prepare('DELETE FROM tombstones WHERE at < ?')
  return {
    addSession: files.addSession,
    useSessions: files.useSessions,
    putExecution: files.putExecution,
    dropExecutions: files.dropExecutions,
    endSession({ kernelId, owner, reason, at }) {
      bury.run(kernelId, owner, reason, at)
      files.removeSession(kernelId)
    },
    liveSessions() {
      const ended = new Set(tombstones.all().map(({ kernel_id: kernelId }) => kernelId))
      return files.liveSessions().filter(({ session: { kernelId } }) => {
        if (!ended.has(kernelId)) return true
        try {
          files.removeSession(kernelId)
        } catch {
          // The next start finds it again.
        }
        return false
      })
    },
    tombstones: () => tombstones.all().map(toTombstone),
    dropTombstones: (before) => void dropTombstones.run(before),
  }
}

function toTombstone(row: Record<string, SQLOutputValue>): TombstoneRecord {
  return {
    kernelId: String(row.kernel_id),
    owner: String(row.owner),
    reason: String(row.reason) as EndReason,
    at: Number(row.at),
  }
}
