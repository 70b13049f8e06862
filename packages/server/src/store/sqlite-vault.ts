import type { DatabaseSync } from 'node:sqlite'
import type { OpenMasterKey } from './master-key.ts'
import { createVault, type Vault } from './vault.ts'

/** What is sealed in the table `vault`, so that a wrong master key is known before it is used. */
const PROOF = 'cob'

/**
 * The vault that the database's secrets are in. Throws a readable error when the master key is not the one they were encrypted with, or
 * is not there.
 */
export function openVault(db: DatabaseSync, openMasterKey: OpenMasterKey): Vault {
  const proof = db.prepare('SELECT proof FROM vault').get()?.proof
  const { bytes, source } = openMasterKey(proof === undefined)
  const vault = createVault(bytes)
  if (proof === undefined) {
    db.prepare('INSERT INTO vault (id, proof, holds_old) VALUES (1, ?, 1)').run(vault.seal(PROOF, PROOF))
    return vault
  }
  try {
    vault.open(String(proof), PROOF)
  } catch (cause) {
    throw new Error(
      `${source} is not the master key that the secrets of the keys were encrypted with. Use that one; without it the keys must be made anew.`,
      { cause },
    )
  }
  return vault
}

/** Encrypts secrets that were kept readable. */
export function sealSecrets(db: DatabaseSync, vault: Vault): void {
  const update = db.prepare('UPDATE keys SET secret_key = ? WHERE access_key = ?')
  for (const { access_key: accessKey, secret_key: secretKey } of db.prepare('SELECT * FROM keys').all())
    update.run(vault.seal(String(secretKey), String(accessKey)), String(accessKey))
}

/** Once: takes what was readable out of the file's unused places and of the log of writes. */
export function forgetOld(db: DatabaseSync): void {
  if (db.prepare('SELECT holds_old FROM vault').get()?.holds_old === 0) return
  db.exec('VACUUM')
  const { timeout } = db.prepare('PRAGMA busy_timeout').get() ?? {}
  // Another process that reads is not waited for: it is done at the next start then.
  db.exec('PRAGMA busy_timeout = 0')
  const checkpoint = db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
  db.exec(`PRAGMA busy_timeout = ${timeout}`)
  if (checkpoint?.busy !== 0) return
  db.exec('UPDATE vault SET holds_old = 0')
}
