import assert from 'node:assert/strict'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { createApiClient } from '../../support/api-client.ts'
import { ADMIN, BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'
import { parseMetrics, readMetrics } from '../../support/metrics.ts'

async function start(t: TestContext, options: Parameters<typeof startHttp>[0] = {}) {
  const http = await startHttp(options)
  t.after(() => http.close())
  return { http, client: createApiClient(http.url, `${KEY.accessKey}:${KEY.secretKey}`) }
}

/** As anybody may ask: with any Host, and without one of Node's own. */
function ask(http: HttpFixture, headers: Record<string, string>): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  request(`${http.url}/metrics`, { headers }, (response) => {
    response.resume()
    resolve(response.statusCode)
  })
    .once('error', reject)
    .end()
  return promise
}

test('sessions, executions, ends and refusals are counted by kernel type, outcome, reason and code', async (t) => {
  const { http, client } = await start(t)
  const first = await client.create({ lang: 'fake' })
  const second = await client.create({ lang: 'other' })
  await client.run(first, 'print 1')
  await client.run(first, 'print 1')
  await client.run(second, 'crash')
  await client.gone(second)
  assert.equal((await client.call('GET', '/v1/kernel/nonsense')).status, 404)

  const samples = await readMetrics(http.url)
  for (const [sample, value] of [
    ['cob_sessions{lang="fake",state="idle"}', 1],
    ['cob_session_create_seconds_count{lang="fake",start="cold"}', 1],
    ['cob_session_create_seconds_count{lang="other",start="cold"}', 1],
    ['cob_executions_total{lang="fake",outcome="finished"}', 2],
    ['cob_executions_total{lang="other",outcome="crashed"}', 1],
    ['cob_execution_seconds_count{lang="fake"}', 2],
    ['cob_session_ends_total{lang="other",reason="crashed"}', 1],
    ['cob_problems_total{code="malformed-kernel-id"}', 1],
    ['cob_problems_total{code="quota-exceeded"}', 0],
  ] as const)
    assert.equal(samples.get(sample), value, sample)
  assert.ok(![...samples.keys()].some((sample) => /^cob_sessions\{lang="other"/.test(sample)))

  await client.destroy(first)
  const after = await readMetrics(http.url)
  assert.equal(after.get('cob_session_ends_total{lang="fake",reason="user-requested"}'), 1)
  assert.ok(![...after.keys()].some((sample) => sample.startsWith('cob_sessions{')))
})

test('a key that has used up its quota, and a server that is full, are counted as what they are', async (t) => {
  const { http, client } = await start(t)
  for (let i = 0; i < 10; i++) await client.create({ lang: 'fake' })
  assert.equal((await client.call('POST', '/v1/kernel/create', { lang: 'fake' })).status, 429)
  assert.equal((await readMetrics(http.url)).get('cob_problems_total{code="quota-exceeded"}'), 1)
})

test('a sandbox that cannot be made, and an agent that breaks the protocol, are counted as faults', async (t) => {
  const { http, client } = await start(t)
  http.backend.failNext = new Error('no room')
  assert.equal((await client.call('POST', '/v1/kernel/create', { lang: 'fake' })).status, 503)
  const kernel = await client.create({ lang: 'fake' })
  await client.run(kernel, 'garbage')
  await client.gone(kernel)
  const samples = await readMetrics(http.url)
  assert.equal(samples.get('cob_session_create_failures_total{lang="fake"}'), 1)
  assert.equal(samples.get('cob_agent_errors_total{lang="fake",kind="lost"}'), 1)
})

test('requests are counted by the template of their path, so that strangers cannot add to the list', async (t) => {
  const { http, client } = await start(t)
  const kernel = await client.create({ lang: 'fake' })
  await client.info(kernel)
  await client.info(kernel)
  const before = await readMetrics(http.url)
  const key = 'cob_http_request_seconds_count{route="/v1/kernel/:id",method="GET",status="2xx"}'
  assert.equal(before.get(key), 2)

  const strange = async (method: string, path: string): Promise<unknown> =>
    (await fetch(http.url + path, { method, headers: { authorization: BEARER } })).arrayBuffer()
  const series = async (): Promise<number> =>
    [...(await readMetrics(http.url)).keys()].filter((sample) => sample.startsWith('cob_http')).length
  for (let i = 0; i < 3; i++) await strange('GET', `/nowhere/${i}`)
  await strange('PROPFIND', '/v1/kernels')
  const bounded = await series()
  for (let i = 0; i < 20; i++) {
    await strange('GET', `/elsewhere/${i}?x=${i}`)
    await strange('GET', `/v1/kernel/${i}`)
  }
  for (const method of ['MKCOL', 'LOCK', 'SEARCH']) await strange(method, '/v1/kernels')
  // The 404 of a kernel was not there before.
  const added = 'cob_http_request_seconds_count{route="/v1/kernel/:id",method="GET",status="4xx"}'
  const after = await readMetrics(http.url)
  assert.equal(after.get(added), 20)
  assert.equal(
    (await series()) - bounded,
    [...after.keys()].filter((s) => s.includes('"/v1/kernel/:id",method="GET",status="4xx"')).length,
  )
})

test('whoever asks from this machine may read the figures; a stranger behind a proxy, or by another name, needs the key of an admin', async (t) => {
  const { http } = await start(t)
  for (const [headers, status] of [
    [{}, 200],
    [{ host: `localhost:${http.port}` }, 200],
    [{ host: `[::1]:${http.port}` }, 200],
    [{ host: 'cob.example.org' }, 401],
    [{ host: `127.0.0.1.example.org:${http.port}` }, 401],
    [{ 'x-forwarded-for': '192.0.2.7' }, 401],
    [{ forwarded: 'for=192.0.2.7' }, 401],
    [{ via: '1.1 proxy' }, 401],
    [{ host: 'cob.example.org', authorization: ADMIN }, 200],
    [{ host: 'cob.example.org', authorization: BEARER }, 403],
    [{ host: 'cob.example.org', authorization: `${BEARER}x` }, 401],
  ] as const)
    assert.equal(await ask(http, headers), status, JSON.stringify(headers))
})

test('the figures are for admins alone, or for everybody, where the operator says so', async (t) => {
  const { http: keyed } = await start(t, { metricsAccess: 'key' })
  assert.equal(await ask(keyed, {}), 401)
  assert.equal(await ask(keyed, { authorization: BEARER }), 403)
  assert.equal(await ask(keyed, { authorization: ADMIN }), 200)
  const { http: open } = await start(t, { metricsAccess: 'public' })
  assert.equal(await ask(open, { host: 'cob.example.org', via: '1.1 proxy' }), 200)
})

test('the delay of the event loop and the memory of the server are among the figures', async (t) => {
  const { http } = await start(t)
  const text = await (await fetch(`${http.url}/metrics`)).text()
  const samples = parseMetrics(text)
  for (const name of [
    'nodejs_eventloop_lag_p99_seconds',
    'process_resident_memory_bytes',
    'process_open_fds',
  ])
    assert.ok(samples.has(name), name)
  for (const name of ['cob_sampler_lag_seconds', 'cob_store_seconds', 'cob_warm_wanted'])
    assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'))
})
