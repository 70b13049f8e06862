import { randomBytes } from 'node:crypto'
import { KEY_PATTERN, NO_LIMITS } from '@cob/protocol'
import type { Key } from './store.ts'

/** A new key: a readable access key, and a secret of 240 random bits. */
export function createKey(given: Partial<Pick<Key, 'name' | 'role' | 'expiresAt' | 'limits'>> = {}): Key {
  return {
    accessKey: `AK${randomBytes(10).toString('hex').toUpperCase()}`,
    secretKey: createSecret(),
    previous: null,
    name: '',
    role: 'user',
    createdAt: Date.now(),
    disabledAt: null,
    expiresAt: null,
    limits: NO_LIMITS,
    ...given,
  }
}

export function createSecret(): string {
  return randomBytes(30).toString('base64url')
}

/** Whether it may be used at `now`, ms since the epoch. The one place that says so. */
export function isValid({ disabledAt, expiresAt }: Key, now: number): boolean {
  return disabledAt === null && (expiresAt === null || now < expiresAt)
}

/** What proves the key at `now`: its secret and, for a while after a rotation, the one before. */
export function secretsOf({ secretKey, previous }: Key, now: number): readonly string[] {
  return previous && now < previous.validUntil ? [secretKey, previous.secretKey] : [secretKey]
}

/** `accessKey:secretKey`, as a Bearer token, `COB_BOOTSTRAP_KEY` and the file `bootstrap-key` have it. */
export function formatKey({ accessKey, secretKey }: Pick<Key, 'accessKey' | 'secretKey'>): string {
  return `${accessKey}:${secretKey}`
}

/** Undefined if it is not of that form. */
export function parseKey(text: string): Pick<Key, 'accessKey' | 'secretKey'> | undefined {
  const match = KEY_PATTERN.exec(text)
  return match?.[1] && match[2] ? { accessKey: match[1], secretKey: match[2] } : undefined
}
