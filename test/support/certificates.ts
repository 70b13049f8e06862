import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'

export interface CertificateFolder {
  readonly certFile: string
  readonly keyFile: string
  /** Puts another certificate of its own, with another key, in their place. */
  renew(commonName: string): void
}

/** A certificate that nobody has signed but itself, for localhost and 127.0.0.1. */
export function createCertificate(t: TestContext, commonName = 'first'): CertificateFolder {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-tls-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const certFile = path.join(folder, 'cert.pem')
  const keyFile = path.join(folder, 'key.pem')
  const renew = (name: string): void => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
    const files = ['-keyout', `${keyFile}.new`, '-out', `${certFile}.new`]
    const about = ['-days', '2', '-subj', `/CN=${name}`, '-addext', names]
    execFileSync('/usr/bin/openssl', ['req', '-x509', ...key, ...files, ...about], { stdio: 'ignore' })
    for (const file of [keyFile, certFile]) renameSync(`${file}.new`, file)
  }
  renew(commonName)
  return { certFile, keyFile, renew }
}
