import {
  type ChangeKey,
  type CreateKey,
  DEFAULT_OVERLAP_MS,
  type KeyInfo,
  type KeyWithSecret,
  keyLimitsSchema,
} from '@cob/protocol'
import { CobError } from '../errors.ts'
import { createKey, createSecret, isValid } from '../store/key.ts'
import type { Key, Store } from '../store/store.ts'

/** What an admin may do with keys. All but `list` and `create` throw `no-such-key`. */
export interface Keys {
  list(): KeyInfo[]
  find(accessKey: string): KeyInfo
  /** The secret is told here and by `rotate`, and never again. */
  create(request: CreateKey): KeyWithSecret
  /** Throws `last-admin`. */
  change(accessKey: string, request: ChangeKey): KeyInfo
  /** Refused from now on; one that is disabled already keeps its time. Throws `last-admin`. */
  disable(accessKey: string): KeyInfo
  enable(accessKey: string): KeyInfo
  /** Gives it a new secret; the old one stays valid for `overlapMs`, one before that ends now. */
  rotate(accessKey: string, overlapMs?: number): KeyWithSecret
}

export interface KeysOptions {
  readonly store: Pick<Store, 'addKey' | 'findKey' | 'listKeys' | 'changeKey'>
  /** ms since the epoch */
  readonly now: () => number
  readonly onRotated?: (key: Key) => void
}

export function createKeys({ store, now, onRotated = () => {} }: KeysOptions): Keys {
  const changeKey = (accessKey: string, change: (key: Key) => Key): Key => {
    const changed = store.changeKey(accessKey, (key) => {
      const next = change(key)
      if (isAdmin(key) && !isAdmin(next) && !hasOtherAdmin(accessKey))
        throw CobError.of('last-admin', { accessKey })
      return next
    })
    if (!changed) throw CobError.of('no-such-key', { accessKey })
    return changed
  }
  const isAdmin = (key: Key): boolean => key.role === 'admin' && isValid(key, now())
  const hasOtherAdmin = (accessKey: string): boolean =>
    store.listKeys().some((key) => key.accessKey !== accessKey && isAdmin(key))
  const tell = (key: Key): KeyInfo => toInfo(key, now())
  const tellAll = (key: Key): KeyWithSecret => ({ ...tell(key), secretKey: key.secretKey })

  return {
    list: () => store.listKeys().map(tell),
    find(accessKey) {
      const key = store.findKey(accessKey)
      if (!key) throw CobError.of('no-such-key', { accessKey })
      return tell(key)
    },
    create(request) {
      const key = apply(createKey(), request)
      store.addKey(key)
      return tellAll(key)
    },
    change: (accessKey, request) => tell(changeKey(accessKey, (key) => apply(key, request))),
    disable: (accessKey) =>
      tell(changeKey(accessKey, (key) => ({ ...key, disabledAt: key.disabledAt ?? now() }))),
    enable: (accessKey) => tell(changeKey(accessKey, (key) => ({ ...key, disabledAt: null }))),
    rotate(accessKey, overlapMs = DEFAULT_OVERLAP_MS) {
      const rotated = changeKey(accessKey, (key) => ({
        ...key,
        secretKey: createSecret(),
        previous: overlapMs > 0 ? { secretKey: key.secretKey, validUntil: now() + overlapMs } : null,
      }))
      onRotated(rotated)
      return tellAll(rotated)
    },
  }
}

function apply(key: Key, { name, role, expiresAt, limits }: ChangeKey): Key {
  return {
    ...key,
    name: name ?? key.name,
    role: role ?? key.role,
    expiresAt: expiresAt === undefined ? key.expiresAt : toTime(expiresAt),
    limits: keyLimitsSchema.parse({ ...key.limits, ...limits }),
  }
}

const toTime = (instant: string | null): number | null => (instant === null ? null : Date.parse(instant))
const toInstant = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString())

function toInfo(key: Key, now: number): KeyInfo {
  const { accessKey, name, role, limits, previous } = key
  return {
    accessKey,
    name,
    role,
    isValid: isValid(key, now),
    createdAt: new Date(key.createdAt).toISOString(),
    disabledAt: toInstant(key.disabledAt),
    expiresAt: toInstant(key.expiresAt),
    previousSecretValidUntil: toInstant(previous && now < previous.validUntil ? previous.validUntil : null),
    limits,
  }
}
