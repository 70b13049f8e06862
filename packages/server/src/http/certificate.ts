import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Logger } from '../observe/logger.ts'

/** ms between two looks whether the files have changed; two calls of stat(2). */
const POLL_MS = 5000

/** PEM: the certificate with those of its issuers behind it, and its private key. */
export interface CertificatePair {
  readonly cert: Buffer
  readonly key: Buffer
}

interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

export interface Certificate {
  readonly pair: CertificatePair
  /** Until when it is valid, ms since the epoch. */
  readonly validUntil: number
  /** A name it is for: `host` if it is for that, or else the first it has that is one name; undefined if there is none. */
  nameFor(host: string): string | undefined
  /** Calls with each new pair that is one. Idempotent `close`. */
  follow(onChange: (pair: CertificatePair, validUntil: number) => void): { close(): void }
}

interface CertificateOptions extends CertificateFiles {
  readonly logger: Logger
  readonly pollMs?: number
}

/** Throws an error that says what is wrong with which file. */
export function openCertificate({ logger, pollMs = POLL_MS, ...files }: CertificateOptions): Certificate {
  const pair = readPair(files)
  const own = new X509Certificate(pair.cert)
  return {
    pair,
    validUntil: validUntil(own),
    nameFor: (host) => (isFor(own, host) ? host : namesOf(own).find((name) => !name.includes('*'))),
    follow(onChange) {
      let seen = toVersion(files)
      const timer = setInterval(() => {
        const version = toVersion(files)
        if (version === seen) return
        seen = version
        try {
          const next = readPair(files)
          const until = validUntil(new X509Certificate(next.cert))
          onChange(next, until)
          logger.info(
            { ...files, validUntil: new Date(until).toISOString() },
            'The TLS certificate was changed.',
          )
        } catch (err) {
          // Often the other file is about to follow.
          logger.error({ err, ...files }, 'The new TLS certificate cannot be used; the old one stays.')
        }
      }, pollMs).unref()
      return { close: () => clearInterval(timer) }
    },
  }
}

function readPair({ certFile, keyFile }: CertificateFiles): CertificatePair {
  const cert = read('COB_TLS_CERT', certFile)
  const key = read('COB_TLS_KEY', keyFile)
  const check = <T>(variable: string, file: string, what: string, act: () => T): T => {
    try {
      return act()
    } catch (cause) {
      throw new Error(`${variable}: ${file} ${what}`, { cause })
    }
  }
  check('COB_TLS_CERT', certFile, 'is no certificate in PEM form.', () => new X509Certificate(cert))
  check('COB_TLS_KEY', keyFile, 'is no private key in PEM form, or has a passphrase.', () =>
    createSecureContext({ key }),
  )
  check('COB_TLS_KEY', keyFile, `is not the private key of ${certFile}.`, () =>
    createSecureContext({ cert, key }),
  )
  return { cert, key }
}

function read(variable: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${variable}: ${file} cannot be read: ${why}`, { cause })
  }
}

/** Differs when either file was written, or replaced. */
function toVersion({ certFile, keyFile }: CertificateFiles): string {
  return [certFile, keyFile]
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false, bigint: true })
      return stat === undefined ? 'none' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`
    })
    .join(' ')
}

function validUntil({ validToDate }: X509Certificate): number {
  return validToDate.getTime()
}

function isFor(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined
}

function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return subjectAltName.split(', ').flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice(4)] : []))
}
