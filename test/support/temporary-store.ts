import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createSqliteStore } from '../../packages/server/src/store/sqlite-store.ts'
import type { Store } from '../../packages/server/src/store/store.ts'

const folders: string[] = []
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** The embedded store, in a folder that goes with this process. */
export function createTemporaryStore(): Store {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-store-'))
  folders.push(folder)
  return createSqliteStore(path.join(folder, 'cob.db'), () => ({
    bytes: Buffer.alloc(32, 7),
    source: 'a test',
  }))
}
