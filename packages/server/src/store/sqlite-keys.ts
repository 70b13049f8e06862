import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { KEY_ROLES, keyLimitsSchema, NO_LIMITS } from '@cob/protocol'
import { inTransaction } from './sqlite-transaction.ts'
import type { Key, Store } from './store.ts'
import type { Vault } from './vault.ts'

/** Keys kept decrypted, so that a request needs no decryption; beyond, all are forgotten. */
const MAX_CACHED = 10_000

type KeyStore = Pick<Store, 'addKey' | 'findKey' | 'listKeys' | 'changeKey'>

export function createSqliteKeys(db: DatabaseSync, vault: Vault): KeyStore {
  const insert = db.prepare(
    `INSERT INTO keys (secret_key, previous_secret, previous_until, name, role, created_at, disabled_at, expires_at, limits, access_key)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const update = db.prepare(
    `UPDATE keys SET secret_key = ?, previous_secret = ?, previous_until = ?, name = ?, role = ?, created_at = ?, disabled_at = ?,
       expires_at = ?, limits = ? WHERE access_key = ?`,
  )
  const select = db.prepare('SELECT * FROM keys WHERE access_key = ?')
  const selectAll = db.prepare('SELECT * FROM keys ORDER BY created_at, access_key')
  // Changes whenever another connection has committed (https://sqlite.org/pragma.html#pragma_data_version).
  const dataVersion = db.prepare('PRAGMA data_version')

  const cached = new Map<string, Key>()
  let version: unknown
  const forgetOthers = (): void => {
    const current = dataVersion.get()?.data_version
    if (current !== version || cached.size >= MAX_CACHED) cached.clear()
    version = current
  }

  const toRow = (key: Key) =>
    [
      vault.seal(key.secretKey, key.accessKey),
      key.previous && vault.seal(key.previous.secretKey, key.accessKey),
      key.previous?.validUntil ?? null,
      key.name,
      key.role,
      key.createdAt,
      key.disabledAt,
      key.expiresAt,
      JSON.stringify(key.limits),
      key.accessKey,
    ] as const
  /** The columns are of the types the table declares (STRICT). */
  const toKey = (row: Record<string, SQLOutputValue>): Key => {
    const accessKey = String(row.access_key)
    const numberOr = (value: SQLOutputValue | undefined): number | null =>
      value === null ? null : Number(value)
    return {
      accessKey,
      secretKey: vault.open(String(row.secret_key), accessKey),
      previous:
        row.previous_secret === null
          ? null
          : {
              secretKey: vault.open(String(row.previous_secret), accessKey),
              validUntil: Number(row.previous_until),
            },
      name: String(row.name),
      role: KEY_ROLES.find((role) => role === row.role) ?? 'user',
      createdAt: Number(row.created_at),
      disabledAt: numberOr(row.disabled_at),
      expiresAt: numberOr(row.expires_at),
      limits: keyLimitsSchema.parse({ ...NO_LIMITS, ...JSON.parse(String(row.limits)) }),
    }
  }
  /** On disk when it returns, also through a power failure; other writes may be lost by one. */
  const durably = <T>(act: () => T): T => {
    cached.clear()
    db.exec('PRAGMA synchronous = FULL')
    try {
      return inTransaction(db, act)
    } finally {
      db.exec('PRAGMA synchronous = NORMAL')
    }
  }
  const read = (accessKey: string): Key | undefined => {
    const row = select.get(accessKey)
    return row && toKey(row)
  }

  return {
    addKey: (key) => durably(() => void insert.run(...toRow(key))),
    findKey(accessKey) {
      forgetOthers()
      const known = cached.get(accessKey) ?? read(accessKey)
      if (known) cached.set(accessKey, known)
      return known
    },
    listKeys: () => selectAll.all().map(toKey),
    changeKey: (accessKey, change) =>
      durably(() => {
        const key = read(accessKey)
        if (!key) return undefined
        const changed = { ...change(key), accessKey }
        update.run(...toRow(changed))
        return changed
      }),
  }
}
