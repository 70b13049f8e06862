import type { KeyLimits, KeyRole } from '@cob/protocol'
import type { AuditStore } from './audit.ts'
import type { SessionStore } from './session-store.ts'
import type { UsageStore } from './usage.ts'

/** Who may use the API. Times are ms since the epoch. */
export interface Key {
  readonly accessKey: string
  /** Readable here, and encrypted at rest: signatures (HMAC) need the secret itself. */
  readonly secretKey: string
  /** The secret before the last rotation, valid until a time. */
  readonly previous: { readonly secretKey: string; readonly validUntil: number } | null
  readonly name: string
  readonly role: KeyRole
  readonly createdAt: number
  readonly disabledAt: number | null
  readonly expiresAt: number | null
  readonly limits: KeyLimits
}

interface KeyStore {
  /** Throws if the access key is taken. */
  addKey(key: Key): void
  /** As it is now, also where another process has changed it. */
  findKey(accessKey: string): Key | undefined
  /** Oldest first. */
  listKeys(): Key[]
  /**
   * Puts what `change` makes of the key in its place; nobody else changes any key meanwhile. Undefined if there is no such key. What
   * `change` throws leaves everything as it was. The access key stays.
   */
  changeKey(accessKey: string, change: (key: Key) => Key): Key | undefined
}

/** What must outlive the server process. Synchronous: the embedded store answers in microseconds. */
export interface Store extends KeyStore, UsageStore, AuditStore {
  readonly sessions: SessionStore
  /** Throws where it cannot be written. */
  check(): void
  close(): void
}
