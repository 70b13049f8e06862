import type { DatabaseSync } from 'node:sqlite'
import { AUDIT_ACTIONS } from '@cob/protocol'
import type { AuditStore } from './audit.ts'

const NEVER = Number.MAX_SAFE_INTEGER

export function createSqliteAudit(db: DatabaseSync): AuditStore {
  const insert = db.prepare(
    'INSERT INTO audit (at, who, action, target, request_id, outcome) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const select = db.prepare(
    `SELECT * FROM audit WHERE (?1 IS NULL OR who = ?1 OR target = ?1) AND at >= ?2 AND at < ?3 AND id < ?4
     ORDER BY id DESC LIMIT ?5`,
  )
  const pruneOld = db.prepare('DELETE FROM audit WHERE at < ?')
  const pruneMany = db.prepare('DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?')
  return {
    addAudit({ at, who, action, target, requestId, outcome }) {
      insert.run(at, who, action, target, requestId, outcome)
    },
    listAudit: ({ accessKey, from, to, after, limit }) =>
      select.all(accessKey ?? null, from ?? 0, to ?? NEVER, after ?? NEVER, limit).flatMap((row) => {
        const action = AUDIT_ACTIONS.find((each) => each === row.action)
        if (!action) return []
        return {
          id: Number(row.id),
          at: Number(row.at),
          who: String(row.who),
          action,
          target: row.target === null ? null : String(row.target),
          requestId: row.request_id === null ? null : String(row.request_id),
          outcome: String(row.outcome),
        }
      }),
    pruneAudit(before, maxEntries) {
      pruneOld.run(before)
      pruneMany.run(maxEntries)
    },
  }
}
