import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'
import { closing, open, type ProblemAnswer, readProblem, requestHead } from '../../support/raw-http.ts'

let http: HttpFixture
before(async () => {
  http = await startHttp()
})
after(() => http.close())

const head = (line: string, ...headers: string[]): string => requestHead(http, line, ...headers)
async function ask(...sent: Parameters<typeof head>): Promise<ProblemAnswer> {
  const socket = open(http)
  socket.write(head(...sent))
  const answer = await readProblem(socket)
  socket.destroy()
  return answer
}

test('a page of the docs that is not there is 404, and no file of the server gets out', async () => {
  for (const path of [
    '/docs/static/nope.js',
    '/docs/static/..%2f..%2fpackage.json',
    '/docs/nope',
    '/docsx',
  ]) {
    const { status, body } = await ask(`GET ${path}`)
    assert.deepEqual([status, body.code], [404, 'no-such-route'], path)
  }
})

test('the docs may be read by plain http from another machine', async () => {
  const response = await fetch(`${http.url}/docs`)
  assert.doesNotMatch(response.headers.get('content-security-policy') ?? 'none', /upgrade-insecure-requests/)
})

test('methods nobody has heard of are 405 where the path is known', async () => {
  for (const method of ['TRACE', 'PROPFIND', 'QUERY', 'PURGE', 'M-SEARCH']) {
    const { status, headers, body } = await ask(`${method} /v1/kernels`)
    assert.deepEqual([status, body.code], [405, 'method-not-allowed'], method)
    assert.equal(headers.get('allow'), 'GET, HEAD, OPTIONS')
    assert.equal((await ask(`${method} /nowhere`)).status, 404)
  }
})

test('a request without Host, and a path that cannot be decoded, get a problem like any other', async () => {
  const socket = open(http)
  socket.write('GET /v1 HTTP/1.1\r\n\r\n')
  const noHost = await readProblem(socket)
  assert.deepEqual([noHost.status, noHost.body.code], [400, 'malformed-http'])
  socket.write('GET /v1 HTTP/1.0\r\n\r\n')
  assert.equal((await readProblem(socket)).status, 200)
  socket.destroy()
  const undecodable = await ask('GET /v1/kernel/%ff')
  assert.deepEqual([undecodable.status, undecodable.body.code], [400, 'invalid-request'])
  for (const { headers, body } of [noHost, undecodable]) {
    assert.equal(headers.get('x-request-id'), body.requestId)
    assert.ok(Number(headers.get('x-ratelimit-remaining')) > 0)
    assert.equal(headers.get('cache-control'), 'no-store')
  }
})

test('an id of any length is told that it is none, shortened', async () => {
  const { status, body } = await ask(`GET /v1/kernel/${'x'.repeat(8000)}`, `Authorization: ${BEARER}`)
  assert.deepEqual([status, body.code], [404, 'malformed-kernel-id'])
  assert.ok(body.detail.length < 300)
})

test('what is no HTTP is told so under a request id, and is not kept by a client that stays', async () => {
  const cases = [
    ['HELLO\r\n\r\n', 400, 'malformed-http'],
    ['\x16\x03\x01\x02\x00', 400, 'malformed-http'],
    ['GET /v1 HTTP/9.9\r\n\r\n', 400, 'malformed-http'],
    [`${head('POST /v1/kernels', 'Transfer-Encoding: chunked')}ZZ\r\n`, 400, 'malformed-http'],
    [`GET /v1 HTTP/1.1\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 431, 'headers-too-large'],
  ] as const
  await Promise.all(
    cases.map(async ([sent, status, code]) => {
      const socket = open(http)
      socket.write(sent)
      const closed = closing(socket)
      const answer = await readProblem(socket)
      assert.deepEqual([answer.status, answer.body.code, answer.body.status], [status, code, status])
      assert.match(answer.body.requestId, /^[0-9a-f-]{36}$/)
      assert.equal(answer.headers.get('x-request-id'), answer.body.requestId)
      // Whatever it goes on sending, the connection ends.
      const timer = setInterval(() => socket.write('more\r\n'), 20)
      await closed
      clearInterval(timer)
    }),
  )
})

test('a client that sends everything before it reads is told why its body was refused', async () => {
  for (const [line, headers, status] of [
    ['POST /v1/kernel/create', [`Authorization: ${BEARER}`, 'Content-Length: 8000000'], 413],
    ['POST /v1/kernel/create', [`Authorization: ${BEARER}`, 'Transfer-Encoding: chunked'], 413],
    ['POST /v1/kernel/create', ['Content-Length: 8000000'], 401],
    ['POST /nowhere', ['Content-Length: 8000000', 'Expect: 100-continue'], 404],
    ['PUT /v1/kernels', ['Transfer-Encoding: chunked', 'Expect: banana'], 405],
    ['POST /v1/kernel/%ff', ['Content-Length: 8000000'], 400],
  ] as const) {
    const socket = open(http)
    const isChunked = headers.some((header) => header.endsWith('chunked'))
    socket.pause()
    socket.write(head(line, ...headers, 'Content-Type: application/json'))
    const body = Buffer.alloc(8_000_000, ' ')
    const end = isChunked ? '\r\n0\r\n\r\n' : ''
    if (isChunked) socket.write('7a1200\r\n')
    socket.write(body)
    await new Promise((resolve) => socket.write(end, resolve))
    assert.equal((await readProblem(socket)).status, status, line)
    // The connection can be used on.
    socket.write(head('GET /v1'))
    assert.equal((await readProblem(socket)).status, 200, line)
    socket.destroy()
  }
})

test('a client that wants the connection closed is told why its body was refused, too, and then it is closed', async () => {
  const made = await fetch(`${http.url}/v1/kernel/create`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json' },
    body: '{"lang": "fake"}',
  })
  const { kernelId } = (await made.json()) as { kernelId: string }
  for (const [line, ...headers] of [
    ['POST /v1/kernel/create HTTP/1.1', 'Connection: close'],
    ['POST /v1/kernel/create HTTP/1.0'],
    ['POST /v1/kernel/create HTTP/1.0', 'Connection: close'],
    [`PUT /v1/kernel/${kernelId}/files/big HTTP/1.1`, 'Connection: close'],
  ]) {
    const socket = open(http)
    socket.pause()
    const given = [
      `Host: ${http.host}`,
      `Authorization: ${BEARER}`,
      'Content-Type: application/json',
      ...headers,
    ]
    socket.write([line, ...given, 'Content-Length: 8000000', '', ''].join('\r\n'))
    const half = Buffer.alloc(4_000_000, ' ')
    await new Promise((resolve) => socket.write(half, resolve))
    await new Promise((resolve) => socket.write(half, resolve))
    const { status } = await readProblem(socket)
    assert.equal(status, 413, line)
    await once(socket.resume(), 'end')
    socket.destroy()
  }
})

test('a refusal that leaves no body unread keeps the connection', async () => {
  const socket = open(http)
  for (const _ of [1, 2]) {
    socket.write(`${head('POST /v1/kernel/create', 'Content-Type: application/json', 'Content-Length: 2')}{}`)
    const { status, headers } = await readProblem(socket)
    assert.deepEqual([status, headers.get('connection')], [401, 'keep-alive'])
  }
  socket.destroy()
})

test('a refusal is short, however much was wrong', async () => {
  const many = (value: unknown, prefix: string): Record<string, unknown> =>
    Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [prefix + i, value]))
  for (const [body, expected] of [
    [
      { lang: 'fake', ...many(1, 'k') },
      /Unknown field "k0", .* and 19990 more; send a JSON object with lang,/,
    ],
    [
      { lang: 'fake', environ: many('x', '1') },
      /environ\.10 is .*: a variable name is letters, digits and _/,
    ],
    [{ lang: 'fake', environ: { [`X${'x'.repeat(500_000)}`]: 'y' } }, /environ\.Xxx+….*a variable name is/],
    [{ lang: 'y'.repeat(500_000) }, /lang is "y+…: .*64 characters/],
    [
      { lang: 5, clientSessionToken: 'abc', x: 1 },
      /lang is 5.*clientSessionToken is "abc".*Unknown field "x"/,
    ],
  ] as const) {
    const response = await fetch(`${http.url}/v1/kernel/create`, {
      method: 'POST',
      headers: { authorization: BEARER, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    // Every error is a problem document.
    const problem = (await response.json()) as Problem
    assert.equal(response.status, 400)
    assert.match(problem.detail, expected)
    assert.ok(problem.detail.length < 2000)
  }
})
