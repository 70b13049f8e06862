import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as rawRequest } from 'node:http'
import { after, before, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'

let http: HttpFixture
before(async () => {
  http = await startHttp()
})
after(() => http.close())

interface Sent {
  readonly status: number
  readonly headers: Headers
  readonly body: Problem & Record<string, unknown>
}

async function send(
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Sent> {
  const response = await fetch(http.url + path, {
    method,
    headers: {
      authorization: BEARER,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  }
}

/** Every refusal is a problem document of this code, carries the request's id, and creates nothing. */
async function refused(sent: Promise<Sent>, status: number, code: string, detail: RegExp): Promise<Sent> {
  const answer = await sent
  assert.equal(answer.status, status, JSON.stringify(answer.body))
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
  assert.equal(answer.body.code, code)
  assert.equal(answer.body.status, status)
  assert.match(answer.body.detail, detail)
  assert.ok(answer.body.title && answer.body.type)
  assert.equal(answer.body.requestId, answer.headers.get('x-request-id'))
  const { body } = await send('GET', '/v1/kernels')
  assert.deepEqual(body.kernels, [])
  return answer
}

const create = (body: unknown): Promise<Sent> =>
  send('POST', '/v1/kernel/create', typeof body === 'string' ? body : JSON.stringify(body))
const made = async (): Promise<string> => String((await create({ lang: 'fake' })).body.kernelId)

test('the four operations answer 201, 200, 204, 204 and then 404, with and without a trailing slash', async () => {
  for (const slash of ['', '/']) {
    const created = await send(
      'POST',
      `/v1/kernel/create${slash}`,
      '{"lang": "fake", "clientSessionToken": "EXAMPLE:STRING"}',
    )
    assert.deepEqual([created.status, created.body.created], [201, true])
    const path = `/v1/kernel/${created.body.kernelId}${slash}`
    const info = await send('GET', path)
    assert.equal(info.status, 200)
    assert.match(info.headers.get('content-type') ?? '', /^application\/json/)
    assert.equal((await send('PATCH', path)).status, 204)
    const destroyed = await send('DELETE', path)
    assert.deepEqual([destroyed.status, destroyed.body], [204, undefined])
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const { status, body } = await send(method, path)
      assert.deepEqual([status, body.code, body.reason], [404, 'kernel-gone', 'user-requested'])
    }
  }
})

test('a body of no bytes is no body, whatever type it is said to be of', async () => {
  const id = await made()
  for (const [method, status] of [
    ['GET', 200],
    ['PATCH', 204],
    ['DELETE', 204],
  ] as const) {
    const { promise, resolve } = Promise.withResolvers<number | undefined>()
    const type = method === 'PATCH' ? 'text/plain' : 'application/json'
    const headers = { authorization: BEARER, 'content-type': type, 'content-length': 0 }
    rawRequest(`${http.url}/v1/kernel/${id}`, { method, headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).end()
    assert.equal(await promise, status)
  }
})

test('limits of zero are the defaults', async () => {
  const { status, body } = await create({ lang: 'fake', resourceLimits: { maxMem: 0, timeout: 0 } })
  assert.equal(status, 201)
  const info = await send('GET', `/v1/kernel/${body.kernelId}`)
  assert.deepEqual([info.body.maxMem, info.body.queryTimeout], [50_000, 60_000])
  await send('DELETE', `/v1/kernel/${body.kernelId}`)
})

test('code runs and the answer has the documented form', async () => {
  const id = await made()
  const { status, body, headers } = await send('POST', `/v1/kernel/${id}`, '{"code": "print a\\nvalue 3"}', {
    prefer: 'respond-async, wait=5',
  })
  assert.equal(status, 200)
  assert.equal(headers.get('preference-applied'), 'wait=5')
  const { executionId, durationMs, ...rest } = body.result as Record<string, unknown>
  assert.deepEqual(rest, {
    status: 'finished',
    stdout: 'a\n',
    stderr: '',
    media: [],
    exceptions: [],
    value: { 'text/plain': '3' },
    executionCount: 1,
    truncated: false,
  })
  assert.ok(executionId && Number(durationMs) >= 0)
  await send('DELETE', `/v1/kernel/${id}`)
})

test('a client that hangs up leaves its execution running', async () => {
  const id = await made()
  const hangUp = new AbortController()
  const asked = fetch(`${http.url}/v1/kernel/${id}`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json' },
    body: '{"code": "print kept\\nask ?", "codeId": "mine"}',
    signal: hangUp.signal,
  })
  hangUp.abort()
  await assert.rejects(asked)
  // The request may not have got through before; the second one tells.
  const { status } = await send('POST', `/v1/kernel/${id}`, '{"code": "", "codeId": "mine"}')
  assert.ok(status === 200 || status === 404)
  await send('DELETE', `/v1/kernel/${id}`)
})

test('bad creations are refused, naming the field, the value and what is accepted', async () => {
  await refused(create({ lang: 'pyton' }), 400, 'unknown-lang', /"pyton".*fake, other/)
  await refused(create({ lang: 'absent' }), 400, 'lang-unavailable', /apt-get install absent/)
  await refused(create({}), 400, 'invalid-request', /lang is missing/)
  await refused(create({ lang: 5 }), 400, 'invalid-request', /lang is 5: .*string/)
  await refused(
    create({ lang: 'fake', clientSessionToken: 'abc' }),
    400,
    'invalid-request',
    /clientSessionToken is "abc": 4 to 80 printable ASCII/,
  )
  await refused(
    create({ lang: 'fake', clientSessionToken: 'x'.repeat(81) }),
    400,
    'invalid-request',
    /4 to 80/,
  )
  await refused(create({ lang: 'fake', clientSessionToken: 'tökén' }), 400, 'invalid-request', /ASCII/)
  const withLimits = (resourceLimits: unknown): Promise<Sent> => create({ lang: 'fake', resourceLimits })
  await refused(withLimits({ maxMem: -1 }), 400, 'invalid-request', /resourceLimits.maxMem is -1: .*>=0/)
  await refused(withLimits({ maxMem: '512' }), 400, 'invalid-request', /resourceLimits.maxMem is "512"/)
  await refused(withLimits({ maxMem: 1.5 }), 400, 'invalid-request', /resourceLimits.maxMem is 1.5/)
  await refused(withLimits({ maxMem: 100_001 }), 406, 'limits-exceeded', /maxMem is 100001 KB.*100000 KB/)
  await refused(
    withLimits({ timeout: 1e15 }),
    406,
    'limits-exceeded',
    /timeout is 1000000000000000 ms.*100000 ms/,
  )
  await refused(withLimits({ timeout: 1e300 }), 400, 'invalid-request', /timeout/)
  await refused(withLimits({ maxMem: 999 }), 400, 'limit-too-low', /at least 1000 KB/)
  await refused(
    withLimits({ maxmem: 5 }),
    400,
    'invalid-request',
    /Unknown field "maxmem" in resourceLimits.*maxMem, timeout/,
  )
  await refused(
    create({ lang: 'fake', extra: 1 }),
    400,
    'invalid-request',
    /Unknown field "extra".*lang, clientSessionToken, resourceLimits, environ/,
  )
  await refused(create({ lang: 'fake', environ: { '1X': 'y' } }), 400, 'invalid-request', /environ/)
  await refused(create({ lang: 'fake', environ: { X: 5 } }), 400, 'invalid-request', /environ.X is 5/)
  await refused(create({ lang: 'fake', environ: { X: 'a\0b' } }), 400, 'invalid-request', /NUL/)
  await refused(
    create({ lang: 'fake', environ: { X: 'a\ud800' } }),
    400,
    'invalid-request',
    /environ.X is "a\\ud800": a value is Unicode/,
  )
})

test('what is not a JSON object in UTF-8 is refused with the reason', async () => {
  await refused(create('{"lang": '), 400, 'invalid-json', /JSON/)
  await refused(create('[]'), 400, 'invalid-request', /expected object/)
  await refused(create('null'), 400, 'invalid-request', /body is missing/)
  await refused(create('"x"'), 400, 'invalid-request', /expected object/)
  await refused(create(''), 400, 'invalid-request', /body is missing/)
  await refused(create('{"lang": "fake", "__proto__": {"x": 1}}'), 400, 'invalid-json', /prototype/)
  await refused(
    create('{"lang": "fake", "constructor": {"prototype": {}}}'),
    400,
    'invalid-json',
    /prototype/,
  )
  await refused(
    create(`{"lang": ${'['.repeat(50_000)}${']'.repeat(50_000)}}`),
    400,
    'invalid-request',
    /lang is an array/,
  )
  const notUtf8 = new Uint8Array([...Buffer.from('{"lang": "'), 0xff, 0xfe, ...Buffer.from('"}')])
  await refused(send('POST', '/v1/kernel/create', notUtf8), 400, 'invalid-utf8', /UTF-8/)
  const marked = await create('\ufeff{"lang": "fake"}')
  assert.equal(marked.status, 201)
  await send('DELETE', `/v1/kernel/${marked.body.kernelId}`)
})

test('code that is not UTF-8 runs nothing', async () => {
  const id = await made()
  const body = new Uint8Array([...Buffer.from('{"code": "print '), 0xc3, 0x28, ...Buffer.from('"}')])
  const { status, body: problem } = await send('POST', `/v1/kernel/${id}`, body)
  assert.deepEqual([status, problem.code], [400, 'invalid-utf8'])
  assert.equal((await send('GET', `/v1/kernel/${id}`)).body.numQueriesExecuted, 0)
  for (const [bad, expected] of [
    ['{}', /code is missing/],
    ['{"code": 1}', /code is 1/],
    ['{"code": "", "x": 1}', /Unknown field "x".*code, codeId/],
    ['{"code": "", "codeId": ""}', /codeId/],
  ] as const) {
    const answer = await send('POST', `/v1/kernel/${id}`, bad)
    assert.equal(answer.status, 400)
    assert.match(answer.body.detail, expected)
  }
  await send('DELETE', `/v1/kernel/${id}`)
})

test('the wrong content type is 415', async () => {
  const body = '{"lang": "fake"}'
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/merge-patch+json',
    'application/json; charset=latin1',
  ]) {
    await refused(
      send('POST', '/v1/kernel/create', body, { 'content-type': type }),
      415,
      'unsupported-media-type',
      /send application\/json/,
    )
  }
  await refused(
    send('POST', '/v1/kernel/create', body, { 'content-encoding': 'gzip' }),
    415,
    'unsupported-media-type',
    /gzip/,
  )
})

test('a Prefer that cannot be honoured is ignored, an Accept that cannot is refused', async () => {
  const id = await made()
  const run = (headers: Record<string, string>): Promise<Sent> =>
    send('POST', `/v1/kernel/${id}`, '{"code": ""}', headers)
  for (const [prefer, applied] of [
    ['wait=soon', null],
    ['wait=-1', null],
    ['wait', null],
    ['wait=99999', 'wait=3600'],
  ] as const) {
    const { status, headers } = await run({ prefer })
    assert.deepEqual([status, headers.get('preference-applied')], [200, applied], prefer)
  }
  assert.equal((await run({ accept: 'image/png' })).status, 406)
  assert.equal((await run({ accept: 'application/json;q=0, image/*' })).status, 406)
  for (const accept of ['*/*', 'application/*', 'text/html, application/json;q=0.5', 'APPLICATION/JSON']) {
    assert.equal((await run({ accept })).status, 200, accept)
  }
  await send('DELETE', `/v1/kernel/${id}`)
})

test('a body of 100 MB is refused with 413 while or before it is read', async () => {
  const big = new Uint8Array(100_000_000).fill(0x20)
  await refused(send('POST', '/v1/kernel/create', big), 413, 'payload-too-large', /1048576 bytes/)
  const request = rawRequest(`${http.url}/v1/kernel/create`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
  })
  request.on('error', () => {})
  const answered = once(request, 'response')
  for (let i = 0; i < 100; i++) request.write(Buffer.alloc(1_000_000, 0x20))
  const [response] = await answered
  assert.equal(response.statusCode, 413)
  request.destroy()
})

test('an id that is not one, and a path that leads nowhere, are 404', async () => {
  for (const id of [
    'x',
    '%00',
    '..%2f..',
    'TSSJT2Z4SnmQhxjWMnJljgTSSJT2Z4SnmQhxjWMnJljg',
    'TSSJT2Z4SnmQhxjWMnJlj!',
    '__proto__',
  ]) {
    await refused(send('GET', `/v1/kernel/${id}`), 404, 'malformed-kernel-id', /22 characters/)
  }
  await refused(
    send('GET', '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg'),
    404,
    'no-such-kernel',
    /TSSJT2Z4SnmQhxjWMnJljg/,
  )
  await refused(send('GET', '/v2'), 404, 'no-such-route', /GET \/v2/)
  await refused(send('GET', '/v1/kernel/%ff'), 400, 'invalid-request', /%ff/)
})

test('a method that is not there is 405 with Allow', async () => {
  const allowed = async (method: string, path: string, allow: string): Promise<void> => {
    const { headers } = await refused(send(method, path), 405, 'method-not-allowed', new RegExp(allow))
    assert.equal(headers.get('allow'), allow)
  }
  await allowed('GET', '/v1/kernel/create', 'OPTIONS, POST')
  await allowed('PUT', '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST')
  await allowed('POST', '/v1/kernels', 'GET, HEAD, OPTIONS')
  await allowed('DELETE', '/v1', 'GET, HEAD, OPTIONS')
  const options = await send('OPTIONS', '/v1/kernels')
  assert.deepEqual([options.status, options.headers.get('allow')], [204, 'GET, HEAD, OPTIONS'])
  assert.equal((await send('HEAD', '/v1/kernels')).status, 200)
})

test("another key's kernel is 404 in every way", async () => {
  const id = await made()
  const other = { authorization: BEARER.replace('AKIAEXAMPLE', 'AKIAOTHER') }
  for (const [method, body] of [['GET'], ['PATCH'], ['DELETE'], ['POST', '{"code": "print a"}']] as const) {
    const { status, body: problem } = await send(method, `/v1/kernel/${id}`, body, other)
    assert.deepEqual([status, problem.code], [404, 'no-such-kernel'], method)
  }
  assert.deepEqual((await send('GET', '/v1/kernels', undefined, other)).body.kernels, [])
  await send('DELETE', `/v1/kernel/${id}`)
})

test('the version, health, the API description and the docs need no key', async () => {
  const get = async (path: string): Promise<Response> => fetch(http.url + path)
  assert.deepEqual(await (await get('/v1')).json(), {
    version: 'v1.20160915',
    server: { name: 'cob', version: '0.0.0-test' },
  })
  for (const path of ['/v1/', '/healthz', '/readyz', '/openapi.json', '/docs'])
    assert.equal((await get(path)).status, 200, path)
  assert.equal(((await (await get('/openapi.json')).json()) as { openapi: string }).openapi, '3.1.0')
  assert.match(await (await get('/docs')).text(), /<html/)
  const langs = await send('GET', '/v1/langs')
  assert.equal((langs.body.langs as unknown[]).length, 2)
})

test('every answer tells what is left of the rate limit, and its request id', async () => {
  for (const [method, path] of [
    ['GET', '/v1'],
    ['GET', '/v1/kernels'],
    ['GET', '/nowhere'],
    ['PUT', '/v1/kernels'],
    ['GET', '/v1/kernel/x'],
    ['POST', '/v1/kernel/create'],
  ] as const) {
    const { headers } = await send(method, path, undefined, { 'x-request-id': 'my-own.id' })
    assert.equal(headers.get('x-request-id'), 'my-own.id', path)
    assert.equal(headers.get('x-ratelimit-limit'), '1000000', `${method} ${path}`)
    assert.ok(Number(headers.get('x-ratelimit-remaining')) < 1_000_000)
    const reset = Number(headers.get('x-ratelimit-reset'))
    assert.ok(reset > 0 && reset <= 900_000)
  }
  const { headers } = await send('GET', '/v1', undefined, { 'x-request-id': 'bad id\u00ff' })
  assert.match(headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/)
})

test('over the rate limit requests get 429 with Retry-After until the window ends', async () => {
  let now = 1_000_000
  const limited = await startHttp({ rateLimit: { perKey: 2, perAddress: 1 }, now: () => now })
  const get = (path: string, headers: Record<string, string>): Promise<Response> =>
    fetch(limited.url + path, { headers })
  try {
    const key = { authorization: BEARER }
    assert.equal((await get('/v1/kernels', key)).status, 200)
    assert.equal((await get('/v1/kernels', key)).status, 200)
    const over = await get('/v1/kernels', key)
    assert.equal(over.status, 429)
    assert.equal(over.headers.get('retry-after'), '900')
    assert.equal(((await over.json()) as Problem).code, 'rate-limited')
    assert.equal((await get('/v1', {})).status, 200)
    assert.equal((await get('/v1', {})).status, 429)
    now += 900_000
    assert.equal((await get('/v1/kernels', key)).status, 200)
  } finally {
    await limited.close()
  }
})
