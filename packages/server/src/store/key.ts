import { randomBytes } from 'node:crypto'
import { KEY_PATTERN, type Network } from '@cob/protocol'
import type { Key } from './store.ts'

/** A new key: a readable access key, and a secret of 240 random bits. */
export function createKey(name: string, network: Network | null = null): Key {
  return {
    accessKey: `AK${randomBytes(10).toString('hex').toUpperCase()}`,
    secretKey: randomBytes(30).toString('base64url'),
    name,
    createdAt: Date.now(),
    disabledAt: null,
    network,
  }
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
