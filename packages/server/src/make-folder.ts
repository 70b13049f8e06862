import { mkdirSync, statSync } from 'node:fs'
import path from 'node:path'

/**
 * Makes a folder that is not there, and those above it. Throws what the file system says. Node's own way, `mkdirSync` with `recursive`,
 * tries for ever below /proc, where a folder that is there says ENOENT of every new one.
 */
export function makeFolder(folder: string, mode = 0o777): void {
  try {
    mkdirSync(folder, { mode })
  } catch (error) {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
    const above = path.dirname(folder)
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (!isMissing || statSync(above, { throwIfNoEntry: false }) !== undefined) throw error
    makeFolder(above, mode)
    mkdirSync(folder, { mode })
  }
}
