import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { createCertificate } from '../support/certificates.ts'
import { startServerProcess } from '../support/server-process.ts'

const COB = path.resolve(import.meta.dirname, '../../packages/cli/bin/cob.mjs')

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-tls-data-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

function cob(
  dataDir: string,
  args: readonly string[],
  environment: Record<string, string>,
): Promise<{ status: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env.PATH, HOME: dataDir, COB_DATA_DIR: dataDir, ...environment }
  return new Promise((resolve) => {
    execFile(process.execPath, [COB, ...args], { cwd: dataDir, env }, (error, stdout, stderr) =>
      resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
}

test('with a certificate the server speaks https, says so, and the command talks to it if it trusts it', async (t) => {
  const dataDir = newFolder(t)
  const { certFile, keyFile } = createCertificate(t)
  const tls = { COB_TLS_CERT: certFile, COB_TLS_KEY: keyFile }
  const server = await startServerProcess(dataDir, tls)
  try {
    assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/)
    assert.equal(JSON.parse(readFileSync(path.join(dataDir, 'server.json'), 'utf8')).url, server.url)
    const stranger = await cob(dataDir, ['kernels', 'list'], tls)
    assert.equal(stranger.status, 3)
    assert.match(stranger.stderr, /certificate of the server .* is not trusted: .*COB_CA/)
    for (const trust of [{ COB_CA: certFile }, { NODE_EXTRA_CA_CERTS: certFile }]) {
      const listed = await cob(dataDir, ['kernels', 'list', '--json'], { ...tls, ...trust })
      assert.deepEqual([listed.status, listed.stderr], [0, ''])
    }
    const mistaken = await cob(dataDir, ['kernels', 'list'], { COB_CA: '/nowhere' })
    assert.deepEqual([mistaken.status, /COB_CA: \/nowhere/.test(mistaken.stderr)], [2, true])
  } finally {
    await server.end('SIGTERM')
  }
})

test('a server that other machines reach does not start in plain text, and says what to set', async (t) => {
  const dataDir = newFolder(t)
  for (const host of ['0.0.0.0', '::']) {
    const { status, stderr } = await cob(dataDir, ['serve'], { COB_HOST: host, COB_PORT: '0' })
    assert.equal(status, 2)
    assert.match(stderr, /COB_TLS_CERT and COB_TLS_KEY, or COB_ALLOW_PLAINTEXT=1/)
  }
})

test('a certificate that cannot be used stops the start with the name of the file', async (t) => {
  const dataDir = newFolder(t)
  const { keyFile } = createCertificate(t)
  const alone = await cob(dataDir, ['serve'], { COB_TLS_CERT: '/nowhere' })
  assert.match(alone.stderr, /COB_TLS_CERT and COB_TLS_KEY go together/)
  const { status, stderr } = await cob(dataDir, ['serve'], { COB_TLS_CERT: '/nowhere', COB_TLS_KEY: keyFile })
  assert.deepEqual([status, /COB_TLS_CERT: \/nowhere cannot be read/.test(stderr)], [2, true])
})
