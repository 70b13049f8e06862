import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Server, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Problem } from '@cob/protocol'
import type { Sessions } from '../../../packages/server/src/sessions/sessions.ts'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'

let http: HttpFixture
before(async () => {
  http = await startHttp()
})
after(() => http.close())

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Problem & Record<string, unknown>
}

/** A client that does as little as a client can: it never closes its side by itself. */
function open({ port } = http): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  return socket
}

const connections = (server: Server): Promise<number> => promisify(server.getConnections.bind(server))()

/** Asks until the answer is the one that is waited for. */
async function until<T>(ask: () => Promise<T>, isIt: (answer: T) => boolean): Promise<void> {
  while (!isIt(await ask())) await new Promise(setImmediate)
}

/** Unlike `once`, whatever went wrong before. */
const closing = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()))

/** Reads one answer and leaves the connection as it is. */
async function readAnswer(socket: Socket): Promise<Answer> {
  let text = ''
  for (;;) {
    text = text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
    const end = text.indexOf('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (end !== -1 && Buffer.byteLength(text) >= end + 4 + length) {
      const [first = '', ...lines] = text.slice(0, end).split('\r\n')
      const headers = new Headers(
        lines.map((line): [string, string] => {
          const [name = '', ...value] = line.split(':')
          return [name, value.join(':').trim()]
        }),
      )
      const body = text.slice(end + 4)
      return {
        status: Number(first.split(' ')[1]),
        headers,
        body: body === '' ? undefined : JSON.parse(body),
      }
    }
    const [chunk] = await once(socket.resume(), 'data')
    text += String(chunk)
  }
}

const head = (line: string, ...headers: string[]): string =>
  [`${line} HTTP/1.1`, `Host: ${http.host}`, ...headers, '', ''].join('\r\n')
async function ask(...sent: Parameters<typeof head>): Promise<Answer> {
  const socket = open()
  socket.write(head(...sent))
  const answer = await readAnswer(socket)
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
  const socket = open()
  socket.write('GET /v1 HTTP/1.1\r\n\r\n')
  const noHost = await readAnswer(socket)
  assert.deepEqual([noHost.status, noHost.body.code], [400, 'malformed-http'])
  socket.write('GET /v1 HTTP/1.0\r\n\r\n')
  assert.equal((await readAnswer(socket)).status, 200)
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
      const socket = open()
      socket.write(sent)
      const closed = closing(socket)
      const answer = await readAnswer(socket)
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
    const socket = open()
    const isChunked = headers.some((header) => header.endsWith('chunked'))
    socket.pause()
    socket.write(head(line, ...headers, 'Content-Type: application/json'))
    const body = Buffer.alloc(8_000_000, ' ')
    const end = isChunked ? '\r\n0\r\n\r\n' : ''
    if (isChunked) socket.write('7a1200\r\n')
    socket.write(body)
    await new Promise((resolve) => socket.write(end, resolve))
    assert.equal((await readAnswer(socket)).status, status, line)
    // The connection can be used on.
    socket.write(head('GET /v1'))
    assert.equal((await readAnswer(socket)).status, 200, line)
    socket.destroy()
  }
})

test('whoever is late is told so and disconnected, whatever of a request is missing', async (t) => {
  const hasty = await startHttp({ bounds: { headersMs: 50, requestMs: 100, checkEveryMs: 10 } })
  t.after(() => hasty.close())
  const body = ['Content-Type: application/json', 'Content-Length: 100000000']
  for (const [name, start, more, statuses] of [
    ['nothing', '', '', [408]],
    ['endless headers', 'GET /v1 HTTP/1.1\r\n', 'X: y\r\n', [408]],
    [
      'a slow body',
      head('POST /v1/kernel/create', `Authorization: Sorna x`, ...body.slice(0, 1), 'Content-Length: 9'),
      '',
      [408],
    ],
    [
      'a slow chunked body',
      head(
        'POST /v1/kernel/create',
        `Authorization: ${BEARER}`,
        'Content-Type: application/json',
        'Transfer-Encoding: chunked',
      ),
      '1\r\n \r\n',
      [408],
    ],
    ['a refused body', head('POST /v1/kernel/create', ...body), ' ', [401, 408]],
    [
      'a body too large',
      head('POST /v1/kernel/create', `Authorization: ${BEARER}`, ...body),
      ' ',
      [413, 408],
    ],
  ] as const) {
    const socket = open(hasty)
    const closed = closing(socket)
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    socket.once('end', () => socket.end())
    socket.write(start)
    const timer = setInterval(() => socket.write(more), 5)
    await closed
    clearInterval(timer)
    const told = [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status))
    assert.deepEqual(told, statuses, name)
  }
})

test('a connection nobody uses is closed', async (t) => {
  const hasty = await startHttp({ bounds: { keepAliveMs: 20 } })
  t.after(() => hasty.close())
  const socket = open(hasty)
  const closed = closing(socket)
  socket.write(head('GET /v1'))
  assert.equal((await readAnswer(socket)).status, 200)
  socket.on('end', () => socket.end())
  await closed
})

test('a client that does not read its answer does not keep it', async (t) => {
  const sessions = { list: () => ['x'.repeat(30_000_000)] }
  // Only the list is asked for.
  const hasty = await startHttp({ sessions: sessions as unknown as Sessions, bounds: { answerMs: 50 } })
  t.after(() => hasty.close())
  const socket = open(hasty)
  const closed = closing(socket)
  socket.once('end', () => socket.end()).pause()
  socket.write(head('GET /v1/kernels', `Authorization: ${BEARER}`))
  const { server } = hasty
  await until(
    () => connections(server),
    (count) => count === 1,
  )
  await until(
    () => connections(server),
    (count) => count === 0,
  )
  socket.resume()
  await closed
})

test('of requests sent without waiting for answers only a few are begun, and the connection ends', async (t) => {
  const gone: Promise<unknown>[] = []
  const sessions = {
    run: async (_owner: string, _id: string, _body: unknown, { signal }: { signal: AbortSignal }) => {
      const aborted = once(signal, 'abort')
      gone.push(aborted)
      await aborted
      throw signal.reason
    },
  }
  // As above.
  const http = await startHttp({ sessions: sessions as unknown as Sessions, bounds: { maxUnanswered: 3 } })
  t.after(() => http.close())
  const socket = open(http)
  const content = '{"code": ""}'
  const one =
    head(
      'POST /v1/kernel/TSSJT2Z4SnmQhxjWMnJljg',
      `Authorization: ${BEARER}`,
      'Content-Type: application/json',
      `Content-Length: ${content.length}`,
    ) + content
  for (let i = 0; i < 2000; i++) socket.write(one)
  const { status, body } = await readAnswer(socket)
  assert.deepEqual([status, body.code], [429, 'too-many-unanswered'])
  assert.equal(gone.length, 3)
  socket.end()
  await Promise.all(gone)
})

test('of more connections than may be, the next is closed and the others are served', async (t) => {
  const small = await startHttp({ bounds: { maxConnections: 2 } })
  t.after(() => small.close())
  const [first, second] = [open(small), open(small)]
  await Promise.all([once(first, 'connect'), once(second, 'connect')])
  const third = open(small)
  await closing(third.resume().on('end', () => third.end()))
  for (const socket of [first, second]) {
    socket.write(head('GET /v1'))
    assert.equal((await readAnswer(socket)).status, 200)
    socket.destroy()
  }
})

test('a refusal that leaves no body unread keeps the connection', async () => {
  const socket = open()
  for (const _ of [1, 2]) {
    socket.write(`${head('POST /v1/kernel/create', 'Content-Type: application/json', 'Content-Length: 2')}{}`)
    const { status, headers } = await readAnswer(socket)
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
