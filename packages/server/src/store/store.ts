import type { Network } from '@cob/protocol'
import type { SessionStore } from './session-store.ts'

/** Who may use the API. Times are ms since the epoch. */
export interface Key {
  readonly accessKey: string
  /** Kept readable: signatures (HMAC) need the secret itself. */
  readonly secretKey: string
  readonly name: string
  readonly createdAt: number
  readonly disabledAt: number | null
  /** What its kernels reach; null: as the server's setting says. */
  readonly network: Network | null
}

/** What must outlive the server process. Synchronous: the embedded store answers in microseconds. */
export interface Store {
  /** Throws if the access key is taken. */
  addKey(key: Key): void
  findKey(accessKey: string): Key | undefined
  listKeys(): Key[]
  /** False if there is no such key. Disabling twice keeps the first time. */
  disableKey(accessKey: string, at: number): boolean
  readonly sessions: SessionStore
  close(): void
}
