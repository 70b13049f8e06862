import { randomBytes } from 'node:crypto'
import { chmodSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { MASTER_KEY_BYTES } from './vault.ts'

/** What the secrets in the store are encrypted with. */
interface MasterKey {
  readonly bytes: Buffer
  /** Where it is from, for messages. */
  readonly source: string
}

/** `mayMake`: nothing is encrypted yet. Throws a readable error. */
export type OpenMasterKey = (mayMake: boolean) => MasterKey

/** 64 hexadecimal digits. */
const MASTER_KEY_PATTERN: RegExp = new RegExp(`^[0-9A-Fa-f]{${2 * MASTER_KEY_BYTES}}$`)

/** `wanted`, or what the file says, which is made (mode 0600) where it may be. */
export function createMasterKeyOpener(file: string, wanted: string | undefined): OpenMasterKey {
  return (mayMake) => {
    if (wanted !== undefined) return { bytes: Buffer.from(wanted, 'hex'), source: 'COB_MASTER_KEY' }
    const text = read(file) ?? (mayMake ? make(file) : undefined)
    if (text === undefined) {
      throw new Error(
        `${file} is missing, and without it the secrets of the keys cannot be read. Put it back from where you keep a copy, or set COB_MASTER_KEY.`,
      )
    }
    if (!MASTER_KEY_PATTERN.test(text)) {
      throw new Error(`${file} is no master key: it must hold ${2 * MASTER_KEY_BYTES} hexadecimal digits.`)
    }
    chmodSync(file, 0o600)
    return { bytes: Buffer.from(text, 'hex'), source: file }
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Whole or not at all, and never over another: a command and a server may start at the same time. */
function make(file: string): string | undefined {
  const temporary = `${file}.${randomBytes(8).toString('hex')}`
  try {
    writeFileSync(temporary, `${randomBytes(MASTER_KEY_BYTES).toString('hex')}\n`, {
      mode: 0o600,
      flush: true,
    })
    linkSync(temporary, file)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  } finally {
    rmSync(temporary, { force: true })
  }
  return read(file)
}
