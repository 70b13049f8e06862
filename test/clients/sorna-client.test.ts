import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { KernelInfo, RunResult } from '@cob/protocol'
import { startServer, type TestServer } from '../support/server.ts'

const run = promisify(execFile)
/** The last release that speaks the API as of 2016, and what it imports without saying so. */
const PACKAGES = ['sorna-client==0.8.3', 'async_timeout', 'setuptools']
const folder = mkdtempSync(path.join(tmpdir(), 'cob-clients-'))
const python = path.join(folder, 'bin/python')

let server: TestServer
before(async () => {
  await run('/usr/bin/python3', ['-m', 'venv', folder])
  await run(python, ['-m', 'pip', 'install', '--quiet', ...PACKAGES])
  server = await startServer()
})
after(async () => {
  await server?.close()
  rmSync(folder, { recursive: true, force: true })
})

test('the package sorna-client of 2016 goes through the life of a kernel', async () => {
  const [accessKey = '', secretKey = ''] = server.key.split(':')
  const { stdout } = await run(
    python,
    ['-W', 'ignore', path.join(import.meta.dirname, 'sorna_client_session.py')],
    {
      env: { SORNA_ENDPOINT: server.url, SORNA_ACCESS_KEY: accessKey, SORNA_SECRET_KEY: secretKey },
    },
  )
  const seen = JSON.parse(stdout) as Record<string, unknown> &
    Record<'result' | 'failure' | 'restarted', RunResult> & { info: KernelInfo }
  assert.equal(seen.version, 'v1.20160915')
  assert.deepEqual(seen.authorized, { authorized: 'yes', echo: 'x' })
  assert.equal(seen.same, true)
  assert.deepEqual(
    [seen.result.stdout, seen.result.stderr, seen.result.media, seen.result.exceptions],
    ['hello ä\n', '', [], []],
  )
  assert.deepEqual(seen.failure.exceptions[0]?.slice(0, 3), [
    'NameError',
    ["name 'a_missing_name' is not defined"],
    false,
  ])
  assert.deepEqual([seen.info.lang, seen.info.numQueriesExecuted], ['python3', 2])
  assert.equal(seen.restarted.value?.['text/plain'], 'False')
  assert.equal(seen.gone, 404)
})
