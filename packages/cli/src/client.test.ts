import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '@cob/server'
import { CliError } from './cli-error.ts'
import { connect, createClient, findServer } from './client.ts'

/** A server that answers every request the same way; its address. */
async function answering(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer)
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never a string.
  const { port } = server.address() as AddressInfo
  return `http://127.0.0.1:${port}`
}

const failsWith = (work: Promise<unknown>, exitCode: number, message: RegExp): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(error instanceof CliError)
    assert.equal(error.exitCode, exitCode)
    assert.match(error.message, message)
    return true
  })

function dataFolder(t: TestContext): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'cob-client-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

test('a problem document becomes one readable line', async (t) => {
  const url = await answering(t, (_request, response) => {
    response.writeHead(406, { 'content-type': 'application/problem+json' })
    response.end(
      JSON.stringify({ title: 'Not acceptable', detail: 'maxMem is 9 KB.', code: 'limits-exceeded' }),
    )
  })
  await failsWith(connect(url, 'a:b').list(), 1, /^Not acceptable: maxMem is 9 KB\.$/)
})

test('an answer that is no problem document is told by its status', async (t) => {
  const url = await answering(t, (_request, response) => {
    response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>')
  })
  await failsWith(connect(url, 'a:b').info('x'), 1, /answered 502/)
})

test('a server that is not there is status 3, with what to do', async () => {
  await failsWith(
    connect('http://127.0.0.1:1', 'a:b').list(),
    3,
    /http:\/\/127\.0\.0\.1:1 does not answer.*cob serve/,
  )
})

test('the key goes as a Bearer token, and a stream that breaks goes on where it broke', async (t) => {
  const seen: (string | undefined)[] = []
  const url = await answering(t, ({ method, url: target, headers }, response) => {
    const after = headers['last-event-id']?.toString()
    seen.push(`${method} ${target}`, headers.authorization, after)
    response.setHeader('x-execution-id', 'e')
    if (after === undefined) {
      response.write('{"id":1,"type":"started"}\n{"type":"heartbeat"}\n{"id":2,"type":"str', () =>
        response.destroy(),
      )
    } else response.end('{"id":2,"type":"stream"}\n{"id":3,"type":"finished"}\n')
  })
  const ids: number[] = []
  for await (const { id } of connect(url, 'a:b').execute('id/1', '1')) ids.push(id)
  assert.deepEqual(ids, [1, 2, 3])
  assert.deepEqual(seen, [
    'POST /v1/kernel/id%2F1',
    'Bearer a:b',
    undefined,
    'GET /v1/kernel/id%2F1/executions/e/events',
    'Bearer a:b',
    '1',
  ])
})

test('the server and the key of the data folder are found; what is given wins', async (t) => {
  const dataDir = dataFolder(t)
  const tokens: (string | undefined)[] = []
  const url = await answering(t, ({ headers }, response) => {
    tokens.push(headers.authorization)
    response.end(JSON.stringify({ kernels: [] }))
  })
  const config = loadConfig({ COB_DATA_DIR: dataDir })
  assert.throws(() => createClient(config, {}), /No server runs on .*cob serve/)
  assert.throws(() => createClient(config, { url }), /No key.*--key or COB_KEY/)

  writeFileSync(path.join(dataDir, 'server.json'), JSON.stringify({ url, pid: process.pid }))
  writeFileSync(path.join(dataDir, 'bootstrap-key'), 'first:secret123\n')
  await createClient(config, {}).list()
  await createClient(loadConfig({ COB_DATA_DIR: dataDir, COB_KEY: 'second:secret123' }), {}).list()
  await createClient(config, { key: 'third:secret123' }).list()
  assert.deepEqual(tokens, ['Bearer first:secret123', 'Bearer second:secret123', 'Bearer third:secret123'])
})

test('server.json of a server that was killed is not believed', (t) => {
  const dataDir = dataFolder(t)
  const config = loadConfig({ COB_DATA_DIR: dataDir })
  // Above the highest process id Linux gives out.
  writeFileSync(path.join(dataDir, 'server.json'), JSON.stringify({ url: 'http://x', pid: 2 ** 30 }))
  assert.equal(findServer(config), undefined)
})
