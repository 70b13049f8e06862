import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createSqliteStore } from '../../packages/server/src/store/sqlite-store.ts'
import { storeContract } from './store.contract.ts'

storeContract('sqlite', {
  makePlace() {
    const folder = mkdtempSync(path.join(tmpdir(), 'cob-store-'))
    const masterKey = { bytes: randomBytes(32), source: 'a test' }
    return {
      open: () => createSqliteStore(path.join(folder, 'cob.db'), () => masterKey),
      remove: () => rmSync(folder, { recursive: true }),
    }
  },
})
