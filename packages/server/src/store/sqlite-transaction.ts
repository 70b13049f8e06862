import type { DatabaseSync } from 'node:sqlite'

/** All that `act` writes, or, where that or it fails, nothing. */
export function inTransaction<T>(db: DatabaseSync, act: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = act()
    db.exec('COMMIT')
    return result
  } catch (error) {
    // After a full disk SQLite has done it already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}
