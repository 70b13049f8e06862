import { createKey, formatKey, isValid, parseKey, secretsOf } from './key.ts'
import type { Key, Store } from './store.ts'

const FILE = 'bootstrap-key'

interface Files {
  read(name: string): string | undefined
  write(name: string, content: string): void
}

/**
 * The key a new server can be used with at once, an admin: `wanted`, or the one the file `bootstrap-key` keeps, or a new one. The file
 * is for the `cob` command, and follows when the key's secret is rotated. Throws if `wanted` names a key that has another secret.
 */
export function openFirstKey(
  store: Store,
  files: Files,
  wanted: string | undefined,
): { key: Key; created: boolean } {
  const now = Date.now()
  const kept = wanted ?? files.read(FILE)?.trim()
  const parsed = kept === undefined ? undefined : parseKey(kept)
  const fresh: Key = { ...createKey({ name: 'first key', role: 'admin' }), ...parsed }
  const known = store.findKey(fresh.accessKey)
  if (wanted !== undefined && known && !secretsOf(known, now).includes(fresh.secretKey)) {
    throw new Error(
      `COB_BOOTSTRAP_KEY names the key ${fresh.accessKey}, which exists with another secret. Use that secret, or another access key.`,
    )
  }
  if (!known) store.addKey(fresh)
  // Keys of versions without roles: somebody must be able to make others.
  const hasAdmin = store.listKeys().some((key) => key.role === 'admin' && isValid(key, now))
  const promoted = hasAdmin ? known : store.changeKey(fresh.accessKey, (key) => ({ ...key, role: 'admin' }))
  const key = promoted ?? fresh
  keepFirstKey(files, key)
  return { key, created: !known }
}

/** Writes the file unless it says so already. */
export function keepFirstKey(files: Files, key: Key): void {
  const text = `${formatKey(key)}\n`
  if (files.read(FILE) !== text) files.write(FILE, text)
}
