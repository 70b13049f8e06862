import { createKey, formatKey, parseKey } from './key.ts'
import type { Key, Store } from './store.ts'

const FILE = 'bootstrap-key'

interface Files {
  read(name: string): string | undefined
  write(name: string, content: string): void
}

/**
 * The key a new server can be used with at once: `wanted`, or the one the file `bootstrap-key` keeps, or a new one. The file is for the
 * `cob` command. Throws if `wanted` names a key that has another secret.
 */
export function openFirstKey(
  store: Store,
  files: Files,
  wanted: string | undefined,
): { key: Key; created: boolean } {
  const kept = wanted ?? files.read(FILE)?.trim()
  const parsed = kept === undefined ? undefined : parseKey(kept)
  const fresh: Key = { ...createKey('first key'), ...parsed }
  const known = store.findKey(fresh.accessKey)
  if (known && known.secretKey !== fresh.secretKey) {
    throw new Error(
      `COB_BOOTSTRAP_KEY names the key ${fresh.accessKey}, which exists with another secret. Use that secret, or another access key.`,
    )
  }
  if (!known) store.addKey(fresh)
  if (files.read(FILE)?.trim() !== formatKey(fresh)) files.write(FILE, `${formatKey(fresh)}\n`)
  return { key: known ?? fresh, created: !known }
}
