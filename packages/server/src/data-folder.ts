import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeFolder } from './make-folder.ts'

/** A server that was killed holds its folder until the kernel has taken it apart, which on a busy machine takes a moment. */
const PATIENCE_MS = 2000

/** What `server.json` says of the running server; `startedAt` is ISO 8601. */
export interface ServerInfo {
  readonly url: string
  readonly pid: number
  readonly startedAt: string
}

/** The folder a server keeps its things in; held by one server at a time. */
export interface DataFolder {
  /** Absolute path of something in the folder. */
  path(...names: string[]): string
  /** Written whole or not at all, mode 0600. */
  write(name: string, content: string): void
  read(name: string): string | undefined
  remove(name: string): void
  /** Lets another server have the folder. Idempotent. */
  close(): void
}

/**
 * Makes the folder (mode 0700) if it is not there and takes hold of it. Throws a readable error when it
 * cannot be written or another server holds it. The hold ends with the process, however that ends.
 */
export function openDataFolder(dir: string): DataFolder {
  const root = path.resolve(dir)
  const resolve = (...names: string[]): string => path.join(root, ...names)
  const read = (name: string): string | undefined => {
    try {
      return readFileSync(resolve(name), 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }
  let lock: DatabaseSync | undefined
  try {
    makeFolder(root, 0o700)
    chmodSync(root, 0o700)
    lock = takeLock(resolve('lock'))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `The data folder ${root} cannot be used: ${why}. Mend that, or set COB_DATA_DIR to another folder that this user may write.`,
      { cause },
    )
  }
  if (!lock) {
    const holder = read('server.json')
    throw new Error(
      `Another server uses the data folder ${root}: ${holder?.trim() ?? 'it is just starting'}. Stop it, or set COB_DATA_DIR to another folder.`,
    )
  }
  let open = true
  return {
    path: resolve,
    write(name, content) {
      const temporary = resolve(`.${name}.new`)
      writeFileSync(temporary, content, { mode: 0o600 })
      renameSync(temporary, resolve(name))
    },
    read,
    remove: (name) => rmSync(resolve(name), { force: true }),
    close() {
      if (open) lock.close()
      open = false
    },
  }
}

/** An exclusive SQLite lock: a POSIX record lock that the kernel drops with the process. Undefined where another one has it. */
function takeLock(file: string): DatabaseSync | undefined {
  const lock = new DatabaseSync(file, { timeout: PATIENCE_MS })
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT')
    chmodSync(file, 0o600)
  } catch (error) {
    lock.close()
    if (error instanceof Error && error.message.includes('locked')) return undefined
    throw error
  }
  return lock
}
