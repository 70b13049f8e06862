import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect, Server as TlsServer } from 'node:tls'
import { pino } from 'pino'
import { openCertificate } from '../../../packages/server/src/http/certificate.ts'
import type { Sessions } from '../../../packages/server/src/sessions/sessions.ts'
import { type CertificateFolder, createCertificate } from '../../support/certificates.ts'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'
import { until } from '../../support/until.ts'

const silent = pino({ level: 'silent' })

/** Whose certificate a new connection meets. */
async function commonNameAt({ port }: HttpFixture): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { CN } = socket.getPeerCertificate().subject
  socket.destroy()
  return String(CN)
}

async function start(t: TestContext, folder: CertificateFolder) {
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(line) })
  const certificate = openCertificate({ ...folder, logger, pollMs: 5 })
  const http = await startHttp({ certificate: certificate.pair })
  const { server } = http
  assert.ok(server instanceof TlsServer)
  let changed = Promise.withResolvers<void>()
  const following = certificate.follow((pair) => {
    server.setSecureContext(pair)
    changed.resolve()
    changed = Promise.withResolvers<void>()
  })
  t.after(async () => {
    following.close()
    await http.close()
  })
  const logged = (text: string): Promise<void> => until(() => log.some((line) => line.includes(text)))
  return { http, changed: () => changed.promise, logged }
}

test('a client that trusts the certificate gets its answers by https, and nobody gets one in plain text', async (t) => {
  const folder = createCertificate(t)
  const { http } = await start(t, folder)
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  const ca = readFileSync(folder.certFile)
  request(`${http.url}/v1/kernels`, { ca, headers: { authorization: BEARER } }, (response) => {
    response.resume()
    resolve(response.statusCode)
  })
    .once('error', reject)
    .end()
  assert.equal(await promise, 200)
  await assert.rejects(fetch(`http://127.0.0.1:${http.port}/v1`))
})

test('a new certificate is used for the next connection, and those there are go on', async (t) => {
  const folder = createCertificate(t, 'first')
  const { http, changed } = await start(t, folder)
  const old = connect({ port: http.port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(old, 'secureConnect')
  const change = changed()
  folder.renew('second')
  await change
  // The key may have been found before its certificate was there; a pair that is none is not taken.
  assert.equal(await commonNameAt(http), 'second')
  old.write(`GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  const [answer] = await once(old, 'data')
  assert.match(String(answer), /^HTTP\/1\.1 200 /)
  old.destroy()
})

test('a new pair that is broken is told of in the log, and the old one stays until there is one that is good', async (t) => {
  const folder = createCertificate(t, 'first')
  const { http, changed, logged } = await start(t, folder)
  writeFileSync(folder.certFile, 'no certificate')
  await logged('cannot be used; the old one stays')
  assert.equal(await commonNameAt(http), 'first')
  const change = changed()
  folder.renew('third')
  await change
  assert.equal(await commonNameAt(http), 'third')
})

test('files that are no certificate and key are named, with what is wrong with them', (t) => {
  const folder = createCertificate(t)
  const other = createCertificate(t)
  const refused = (files: Partial<CertificateFolder>, expected: RegExp): void =>
    assert.throws(() => openCertificate({ ...folder, ...files, logger: silent }), expected)
  refused({ certFile: '/nowhere/cert.pem' }, /COB_TLS_CERT: \/nowhere\/cert\.pem cannot be read: ENOENT/)
  refused({ keyFile: '/nowhere/key.pem' }, /COB_TLS_KEY: \/nowhere\/key\.pem cannot be read/)
  refused({ certFile: folder.keyFile }, /COB_TLS_CERT: .*key\.pem is no certificate in PEM form/)
  refused({ keyFile: folder.certFile }, /COB_TLS_KEY: .*cert\.pem is no private key in PEM form/)
  refused({ keyFile: other.keyFile }, /COB_TLS_KEY: .*key\.pem is not the private key of .*cert\.pem/)
  copyFileSync(other.certFile, folder.certFile)
  refused({}, /is not the private key of/)
})

test('the certificate tells by which name this machine is to be called', (t) => {
  const certificate = openCertificate({ ...createCertificate(t), logger: silent })
  assert.equal(certificate.nameFor('127.0.0.1'), '127.0.0.1')
  assert.equal(certificate.nameFor('localhost'), 'localhost')
  assert.equal(certificate.nameFor('0.0.0.0'), 'localhost')
})

test('a server that closes waits for no connection, however far it had got', async (t) => {
  const http = await startHttp({
    certificate: openCertificate({ ...createCertificate(t), logger: silent }).pair,
  })
  const idle = connect({ port: http.port, host: '127.0.0.1', rejectUnauthorized: false })
  const silentOne = connectTcp({ port: http.port, host: '127.0.0.1' })
  for (const socket of [idle, silentOne]) socket.on('error', () => {})
  await Promise.all([once(idle, 'secureConnect'), once(silentOne, 'connect')])
  const closed = Promise.all([once(idle, 'close'), once(silentOne, 'close')])
  silentOne.resume()
  await http.close()
  await closed
})

test('a server that closes still answers who waits for an answer', async (t) => {
  const folder = createCertificate(t)
  const asked = Promise.withResolvers<void>()
  const found = Promise.withResolvers<never[]>()
  const list = (): Promise<never[]> => {
    asked.resolve()
    return found.promise
  }
  const http = await startHttp({
    certificate: openCertificate({ ...folder, logger: silent }).pair,
    // Nothing else is asked of them.
    sessions: { list } as Partial<Sessions> as Sessions,
  })
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  const options = { ca: readFileSync(folder.certFile), headers: { authorization: BEARER } }
  request(`${http.url}/v1/kernels`, options, (response) => {
    response.resume()
    resolve(response.statusCode)
  })
    .once('error', reject)
    .end()
  await asked.promise
  const closed = http.close()
  await until(() => !http.server.listening)
  found.resolve([])
  assert.equal(await promise, 200)
  await closed
})
