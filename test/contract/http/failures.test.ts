import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { pino } from 'pino'
import { CobError } from '../../../packages/server/src/errors.ts'
import type { HttpServerOptions } from '../../../packages/server/src/http/server.ts'
import { createDrain } from '../../../packages/server/src/sessions/drain.ts'
import type { Sessions } from '../../../packages/server/src/sessions/sessions.ts'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'

const ID = 'TSSJT2Z4SnmQhxjWMnJljg'

interface Fixture extends HttpFixture {
  readonly log: readonly string[]
}

/** A front over sessions of which only what is given may be called; every log line is kept. */
async function start(
  t: TestContext,
  sessions: Partial<Sessions>,
  options: Partial<HttpServerOptions> = {},
): Promise<Fixture> {
  const log: string[] = []
  const logger = pino({ level: 'trace' }, { write: (line: string) => log.push(line) })
  // Calling anything else fails the test, as it should.
  const http = await startHttp({ sessions: sessions as Sessions, logger, ...options })
  t.after(() => http.close())
  return { ...http, log }
}

function run(http: Fixture, init: RequestInit = {}): Promise<Response> {
  return fetch(`${http.url}/v1/kernel/${ID}`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json', prefer: 'wait=2' },
    body: '{"code": "the code itself"}',
    ...init,
  })
}

test('what goes wrong inside stays inside: a generic 500, with the details in the log under its id', async (t) => {
  for (const thrown of [new Error('the disk at /secret is full'), 'the disk at /secret is full', undefined]) {
    const http = await start(t, { run: () => Promise.reject(thrown) })
    const response = await run(http)
    const text = await response.text()
    assert.equal(response.status, 500)
    assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/)
    // Every error is a problem document.
    const problem = JSON.parse(text) as Problem
    assert.equal(problem.code, 'internal')
    assert.doesNotMatch(text, /secret|disk/)
    assert.equal(response.headers.get('preference-applied'), null)
    const line = http.log.find((entry) => entry.includes('A request failed.')) ?? ''
    assert.equal(JSON.parse(line).requestId, problem.requestId)
    if (thrown !== undefined) assert.match(line, /the disk at \/secret is full/)
  }
})

test('an error of ours that carries a status is still ours', async (t) => {
  const http = await start(t, {
    list: () => {
      throw Object.assign(new Error('told nobody'), { statusCode: 200 })
    },
  })
  const response = await fetch(`${http.url}/v1/kernels`, { headers: { authorization: BEARER } })
  assert.equal(response.status, 500)
  assert.doesNotMatch(await response.text(), /told nobody/)
})

test('no secret and no code gets into the log', async (t) => {
  const http = await start(t, { run: () => Promise.reject(new Error('broken')) })
  await (await run(http)).text()
  await (
    await run(http, { headers: { authorization: `${BEARER}x`, 'content-type': 'application/json' } })
  ).text()
  assert.ok(http.log.some((line) => line.includes('Answered a request.')))
  for (const line of http.log) {
    assert.ok(!line.includes(KEY.secretKey), line)
    assert.ok(!line.includes('the code itself'), line)
  }
})

test('a full server tells when to come again, and a gone kernel why it went', async (t) => {
  const http = await start(t, {
    create: () => Promise.reject(CobError.of('no-capacity', { count: 20 }, { retryAfterS: 5 })),
    info: () => {
      const terminatedAt = '2016-12-25T10:11:12.000Z'
      const extra = { reason: 'crashed', terminatedAt }
      throw CobError.of('kernel-gone', { id: ID, reason: 'crashed', terminatedAt }, { extra })
    },
  })
  const full = await fetch(`${http.url}/v1/kernel/create`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json' },
    body: '{"lang": "fake"}',
  })
  assert.deepEqual([full.status, full.headers.get('retry-after')], [503, '5'])
  const gone = await fetch(`${http.url}/v1/kernel/${ID}`, { headers: { authorization: BEARER } })
  // As above.
  const problem = (await gone.json()) as Problem
  assert.deepEqual(
    [gone.status, problem.reason, problem.terminatedAt],
    [404, 'crashed', '2016-12-25T10:11:12.000Z'],
  )
})

test('a server that is not ready says so where it is asked, and is alive', async (t) => {
  let ready = false
  const drain = createDrain({ count: () => 1, onDone: () => {} })
  const http = await start(t, { drain }, { ready: () => ready })
  assert.equal((await fetch(`${http.url}/readyz`)).status, 503)
  assert.equal((await fetch(`${http.url}/healthz`)).status, 200)
  ready = true
  assert.equal((await fetch(`${http.url}/readyz`)).status, 200)
  drain.begin(false)
  assert.equal((await fetch(`${http.url}/readyz`)).status, 503)
})

test('the waiting ends when the client goes away, and the next one is served', async (t) => {
  const asked = Promise.withResolvers<AbortSignal>()
  const http = await start(t, {
    list: async () => [],
    run: (owner, kernelId, body, { waitMs, signal }) => {
      assert.deepEqual([owner, kernelId, body.code, waitMs], [KEY.accessKey, ID, 'x', 3_600_000])
      assert.ok(signal)
      asked.resolve(signal)
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
  })
  const outgoing = request(`${http.url}/v1/kernel/${ID}`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json', prefer: 'wait=3600' },
  })
  outgoing.on('error', () => {})
  outgoing.end('{"code": "x"}')
  const signal = await asked.promise
  assert.equal(signal.aborted, false)
  const aborted = once(signal, 'abort')
  outgoing.destroy()
  await aborted
  const next = await fetch(`${http.url}/v1/kernels`, { headers: { authorization: BEARER } })
  assert.equal(next.status, 200)
  assert.ok(!http.log.some((line) => line.includes('A request failed.')))
})

test('output that is no valid Unicode is still valid JSON', async (t) => {
  const http = await start(t, {
    run: async () => ({
      status: 'finished',
      stdout: 'half a pair: \ud83d',
      stderr: '',
      media: [],
      exceptions: [],
      executionId: 'x',
      executionCount: 1,
      durationMs: 1,
      truncated: false,
    }),
  })
  const response = await run(http)
  assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
  const text = new TextDecoder('utf-8', { fatal: true }).decode(await response.arrayBuffer())
  assert.equal(JSON.parse(text).result.stdout, 'half a pair: \ud83d')
})
