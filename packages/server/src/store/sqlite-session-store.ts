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

/** Puts what tables had into files. */
export function moveToFiles(db: DatabaseSync, files: SessionFiles): void {
  for (const row of db.prepare('SELECT * FROM sessions').all()) {
    // Fields were written from values of these types.
    const fields = JSON.parse(String(row.fields)) as Omit<
      SessionRecord,
      'kernelId' | 'owner' | 'createdAt' | 'usedAt'
    >
    const kernelId = String(row.kernel_id)
    // It may have been moved by a process that did not come to the end.
    files.removeSession(kernelId)
    files.addSession({
      ...fields,
      kernelId,
      owner: String(row.owner),
      createdAt: Number(row.created_at),
      usedAt: Number(row.used_at),
    })
    for (const { count, fields } of db
      .prepare('SELECT * FROM executions WHERE kernel_id = ?')
      .all(kernelId)) {
      const rest = JSON.parse(String(fields)) as Omit<ExecutionRecord, 'kernelId' | 'count'>
      files.putExecution({ ...rest, kernelId, count: Number(count) })
    }
  }
  db.exec('DROP TABLE sessions; DROP TABLE executions')
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
        // Of one whose server did not come to remove it.
        if (ended.has(kernelId)) files.removeSession(kernelId)
        return !ended.has(kernelId)
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
