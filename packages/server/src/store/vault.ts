import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16
/** Of a master key. */
export const MASTER_KEY_BYTES = 32

/** Encrypts what is kept on disk (AES-256-GCM, NIST SP 800-38D). `context` is not secret, but must be the same again. */
export interface Vault {
  /** base64url of IV, ciphertext and tag. */
  seal(text: string, context: string): string
  /** Throws for another master key, another context, or what was changed. */
  open(sealed: string, context: string): string
}

export function createVault(masterKey: Buffer): Vault {
  return {
    seal(text, context) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv(ALGORITHM, masterKey, iv).setAAD(Buffer.from(context))
      return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString(
        'base64url',
      )
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed, 'base64url')
      if (bytes.length < IV_BYTES + TAG_BYTES) throw new Error('what was sealed is cut short')
      const decipher = createDecipheriv(ALGORITHM, masterKey, bytes.subarray(0, IV_BYTES), {
        authTagLength: TAG_BYTES,
      })
      decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-TAG_BYTES))
      const text = decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES))
      return Buffer.concat([text, decipher.final()]).toString('utf8')
    },
  }
}
