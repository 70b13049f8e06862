import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { type ClientOptions, WebSocket } from 'ws'
import { createApiClient } from '../../support/api-client.ts'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'
import { open, readAnswer } from '../../support/raw-http.ts'

const APP = 'https://app.example.org'
const EVIL = 'https://evil.example.org'

async function start(t: TestContext, corsOrigins: readonly string[] = []) {
  const http = await startHttp({ corsOrigins })
  t.after(() => http.close())
  const client = createApiClient(http.url, `${KEY.accessKey}:${KEY.secretKey}`)
  return { http, client }
}

/** The names of CORS headers in an answer. */
const corsHeaders = ({ headers }: Response): string[] =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))

/** What a page's WebSocket meets: 101, or the status of the refusal. */
async function upgrade(http: HttpFixture, kernel: string, options: ClientOptions): Promise<number> {
  const socket = new WebSocket(`${http.url.replace('http', 'ws')}/v1/stream/kernel/${kernel}/events`, {
    headers: { authorization: BEARER },
    ...options,
  })
  const { promise, resolve } = Promise.withResolvers<number>()
  socket.once('open', () => resolve(101))
  socket.once('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0))
  socket.on('error', () => {})
  const status = await promise
  if (status === 101) {
    socket.close()
    await once(socket, 'close')
  } else socket.terminate()
  return status
}

test('without a setting no page may read an answer, whatever it asks', async (t) => {
  const { http } = await start(t)
  for (const [method, path] of [
    ['GET', '/v1'],
    ['GET', '/v1/kernels'],
    ['OPTIONS', '/v1/kernels'],
    ['GET', '/metrics'],
  ] as const) {
    const response = await fetch(http.url + path, {
      method,
      headers: { origin: APP, authorization: BEARER, 'access-control-request-method': 'POST' },
    })
    assert.deepEqual(corsHeaders(response), [], `${method} ${path}`)
    assert.equal(response.headers.get('vary'), null)
  }
})

test('a page of an origin that is allowed may ask, and read what it needs; any other may not', async (t) => {
  const { http } = await start(t, [APP, 'http://localhost:3000'])
  const preflight = await fetch(`${http.url}/v1/kernel/create`, {
    method: 'OPTIONS',
    headers: {
      origin: APP,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, content-type',
    },
  })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-origin'), APP)
  assert.match(preflight.headers.get('access-control-allow-methods') ?? '', /\bPOST\b.*\bDELETE\b/)
  assert.match(
    preflight.headers.get('access-control-allow-headers') ?? '',
    /\bauthorization\b.*\bcontent-type\b/,
  )
  assert.equal(preflight.headers.get('access-control-allow-credentials'), null)

  for (const [headers, status] of [
    [{ origin: APP, authorization: BEARER }, 200],
    [{ origin: APP }, 401],
  ] as const) {
    const response = await fetch(`${http.url}/v1/kernels`, { headers })
    assert.equal(response.status, status)
    assert.equal(response.headers.get('access-control-allow-origin'), APP)
    assert.match(
      response.headers.get('access-control-expose-headers') ?? '',
      /x-execution-id.*x-ratelimit-limit/,
    )
    assert.equal(response.headers.get('vary'), 'origin')
  }
  assert.equal(
    (await fetch(`${http.url}/nowhere`, { headers: { origin: APP } })).headers.get(
      'access-control-allow-origin',
    ),
    APP,
  )

  for (const origin of [EVIL, 'null', `${APP}.evil.org`, 'https://app.example.org:8443', '*'])
    for (const method of ['GET', 'OPTIONS']) {
      const response = await fetch(`${http.url}/v1/kernels`, {
        method,
        headers: { origin, authorization: BEARER, 'access-control-request-method': 'GET' },
      })
      assert.deepEqual(corsHeaders(response), [], origin)
      assert.equal(response.headers.get('vary'), 'origin')
    }
})

test('the WebSockets of a strange page are refused, even with a key; those of programs and of own pages are not', async (t) => {
  const { http, client } = await start(t, [APP])
  const kernel = await client.create({ lang: 'fake' })
  for (const [origin, status] of [
    [undefined, 101],
    [APP, 101],
    [http.url, 101],
    [EVIL, 403],
    ['null', 403],
    [http.url.replace('127.0.0.1', '127.0.0.2'), 403],
  ] as const)
    assert.equal(await upgrade(http, kernel, origin === undefined ? {} : { origin }), status, origin)
})

test('every answer tells browsers to make nothing more of it, those to what is no HTTP among them', async (t) => {
  const { http, client } = await start(t)
  const kernel = await client.create({ lang: 'fake' })
  const answers = []
  for (const path of [
    '/v1',
    '/v1/kernels',
    `/v1/kernel/${kernel}`,
    '/nowhere',
    '/metrics',
    '/openapi.json',
    '/%',
  ])
    answers.push((await fetch(http.url + path, { headers: { authorization: BEARER } })).headers)
  const socket = open(http)
  socket.write('nonsense\r\n\r\n')
  answers.push((await readAnswer(socket)).headers)
  socket.destroy()
  for (const headers of answers) {
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('x-frame-options'), 'DENY')
    assert.equal(headers.get('referrer-policy'), 'no-referrer')
    assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin')
    assert.equal(headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'")
  }
})

test('the docs still run their own script, and nobody may frame them', async (t) => {
  const { http } = await start(t)
  const { headers } = await fetch(`${http.url}/docs`)
  assert.match(headers.get('content-security-policy') ?? '', /script-src 'self'/)
  assert.equal(headers.get('x-frame-options'), 'DENY')
})

test('a page that a session wrote never runs at this server, whole, in part, or as an archive', async (t) => {
  const { http, client } = await start(t)
  const kernel = await client.create({ lang: 'fake' })
  const file = `${http.url}/v1/kernel/${kernel}/files/page.html`
  const headers = { authorization: BEARER }
  const put = await fetch(file, { method: 'PUT', headers, body: '<script>alert(1)</script>' })
  assert.equal(put.status, 201)
  const etag = (await fetch(file, { headers })).headers.get('etag') ?? ''
  for (const [url, more, status] of [
    [file, {}, 200],
    [file, { range: 'bytes=0-7' }, 206],
    [file, { range: 'bytes=900-' }, 416],
    [file, { 'if-none-match': etag }, 304],
    [`${http.url}/v1/kernel/${kernel}/files`, { accept: 'application/x-tar' }, 200],
  ] as const) {
    const response = await fetch(url, { headers: { ...headers, ...more } })
    await response.arrayBuffer()
    assert.equal(response.status, status)
    assert.match(response.headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'/)
    assert.match(response.headers.get('content-disposition') ?? '', /^attachment/)
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
  }
})
