import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { kernelCreatedSchema } from '@cob/protocol'
import type { LogReader } from '../../../packages/server/src/sessions/event-log.ts'
import type { Sessions } from '../../../packages/server/src/sessions/sessions.ts'
import { BEARER, KEY, startHttp } from '../../support/http-fixture.ts'
import { heldBytes } from '../../support/memory.ts'
import { closing, open, readProblem, requestHead } from '../../support/raw-http.ts'
import { until } from '../../support/until.ts'

async function untilConnections(server: Server, count: number): Promise<void> {
  const connections = promisify(server.getConnections.bind(server))
  await until(async () => (await connections()) === count)
}

const FILE = '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg/files/x'
/** As somebody has it who knows of a key, but not its secret. */
const claim = (accessKey = KEY.accessKey, date = new Date().toISOString()): string[] => [
  `Authorization: Sorna signMethod=HMAC-SHA256, credential=${accessKey}:${'0'.repeat(64)}`,
  `Date: ${date}`,
  'X-Sorna-Version: v1.20160915',
]

test('whoever is late is told so and disconnected, whatever of a request is missing', async (t) => {
  const hasty = await startHttp({ bounds: { headersMs: 50, requestMs: 100, checkEveryMs: 10 } })
  t.after(() => hasty.close())
  const post = (...headers: string[]): string =>
    requestHead(hasty, 'POST /v1/kernel/create', 'Content-Type: application/json', ...headers)
  const bearer = `Authorization: ${BEARER}`
  for (const [name, start, more, statuses] of [
    ['nothing', '', '', [408]],
    ['endless headers', 'GET /v1 HTTP/1.1\r\n', 'X: y\r\n', [408]],
    ['a slow body of a stranger', post(...claim(), 'Content-Length: 9'), '', [408]],
    [
      'a file that a stranger sends for ever',
      requestHead(hasty, `PUT ${FILE}`, ...claim(), 'Content-Length: 100000'),
      ' ',
      [408],
    ],
    ['a body of nobody', post(...claim('AKIANOBODY'), 'Content-Length: 100000'), ' ', [401, 408]],
    [
      'a body signed long ago',
      post(...claim(KEY.accessKey, '2016-12-25'), 'Content-Length: 100000'),
      ' ',
      [401, 408],
    ],
    ['an endless body', post(bearer, 'Transfer-Encoding: chunked'), '1\r\n \r\n', [408]],
    ['a body without a key', post('Content-Length: 100000000'), ' ', [401, 408]],
    ['a body too large', post(bearer, 'Content-Length: 100000000'), ' ', [413, 408]],
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
  socket.write(requestHead(hasty, 'GET /v1'))
  assert.equal((await readProblem(socket)).status, 200)
  socket.on('end', () => socket.end())
  await closed
})

test('what came while the whole process stood still is answered, however long that was', async (t) => {
  const hasty = await startHttp({ bounds: { keepAliveMs: 20 } })
  t.after(() => hasty.close())
  const { server } = hasty
  // Node adds that.
  Object.assign(server, { keepAliveTimeoutBuffer: 20 })
  const socket = open(hasty)
  for (const standsStillMs of [0, 200, 200]) {
    socket.write(requestHead(hasty, 'GET /v1'))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, standsStillMs)
    assert.equal((await readProblem(socket)).status, 200)
  }
  const closed = closing(socket)
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
  socket.write(requestHead(hasty, 'GET /v1/kernels', `Authorization: ${BEARER}`))
  const { server } = hasty
  await untilConnections(server, 1)
  await untilConnections(server, 0)
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
    requestHead(
      http,
      'POST /v1/kernel/TSSJT2Z4SnmQhxjWMnJljg',
      `Authorization: ${BEARER}`,
      'Content-Type: application/json',
      `Content-Length: ${content.length}`,
    ) + content
  for (let i = 0; i < 2000; i++) socket.write(one)
  const { status, body } = await readProblem(socket)
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
    socket.write(requestHead(small, 'GET /v1'))
    assert.equal((await readProblem(socket)).status, 200)
    socket.destroy()
  }
})

test('a stream of events in which nothing happens says so, again and again', async (t) => {
  const http = await startHttp({ bounds: { heartbeatMs: 20 } })
  t.after(() => http.close())
  const headers = { authorization: BEARER, 'content-type': 'application/json' }
  const post = (path: string, body: unknown, accept = '*/*') =>
    fetch(http.url + path, {
      method: 'POST',
      headers: { ...headers, accept },
      body: JSON.stringify(body),
    })
  for (const [accept, heartbeat] of [
    ['text/event-stream', ': heartbeat\n\n'],
    ['application/x-ndjson', '{"type":"heartbeat"}\n'],
  ] as const) {
    const created = await post('/v1/kernel/create', { lang: 'fake' })
    const { kernelId } = kernelCreatedSchema.parse(await created.json())
    const { body } = await post(`/v1/kernel/${kernelId}`, { code: 'hang' }, accept)
    let text = ''
    for await (const chunk of body ?? []) {
      text += Buffer.from(chunk).toString()
      if (text.endsWith(heartbeat.repeat(3))) break
    }
    assert.match(text, /"type":"started"/)
  }
})

test('who reads a stream slowly keeps it, who reads nothing of it does not', async (t) => {
  // More than the buffers of a connection take.
  const entry = { id: 1, type: 'stream' as const, size: 60_000, toJson: () => 'x'.repeat(60_000) }
  const endless: LogReader = { take: () => [entry], state: 'open', close: () => {} }
  const sessions = { events: () => ({ executionId: 'x', open: () => endless }) }
  // As above.
  const hasty = await startHttp({ sessions: sessions as unknown as Sessions, bounds: { answerMs: 400 } })
  t.after(() => hasty.close())
  const path = '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg/executions/x/events'
  const start = async (): Promise<{ client: Socket; served: Socket }> => {
    const client = open(hasty)
    const [served] = await once(hasty.server, 'connection')
    client.write(requestHead(hasty, `GET ${path}`, `Authorization: ${BEARER}`))
    return { client, served }
  }
  const idle = await start()
  const idleGone = once(idle.served, 'close')
  idle.client.pause()
  const slow = await start()
  slow.client.on('readable', () => {})
  const reading = setInterval(() => slow.client.read(), 5)
  await idleGone
  assert.equal(slow.served.destroyed, false)
  clearInterval(reading)
  for (const { client } of [idle, slow]) client.destroy()
})

test('bodies that are never finished do not fill the memory: more of them at once are refused, others are taken', async (t) => {
  const size = 65_536
  const http = await startHttp({ maxBodyBytes: size })
  t.after(() => http.close())
  const path = '/v1/kernel/create'
  const others = [
    ['the owner of a key', path, [`Authorization: ${BEARER}`]],
    ['a stranger', path, claim()],
    ['a stranger with a file', FILE, claim()],
    ['a stranger on a route for all', '/healthz', []],
  ] as const
  for (const [name, target, headers] of others) {
    const method = target === path ? 'POST' : target === FILE ? 'PUT' : 'GET'
    const head = requestHead(
      http,
      `${method} ${target}`,
      ...headers,
      'Content-Type: application/json',
      `Content-Length: ${size}`,
    )
    const sockets = Array.from({ length: 40 }, () => open(http))
    const refused = sockets.map(async (socket) => {
      socket.write(head)
      socket.write(Buffer.alloc(size - 1, ' '))
      return readProblem(socket).then(({ status, body }) =>
        assert.deepEqual([status, body.code], [429, 'too-much-sent'], name),
      )
    })
    await Promise.any(refused)
    const other = open(http)
    other.write(
      requestHead(
        http,
        `POST ${path}`,
        `Authorization: ${BEARER.replace(KEY.accessKey, 'AKIAOTHER')}`,
        'Content-Type: application/json',
        `Content-Length: ${size}`,
      ),
    )
    other.write(`{"lang": "fake"}`.padEnd(size))
    assert.equal((await readProblem(other)).status, 201, name)
    other.destroy()
    for (const socket of sockets) socket.destroy()
    await Promise.allSettled(refused)
    await untilConnections(http.server, 0)
  }
})

test('a body in pieces of a byte takes no more memory than one in a piece', async (t) => {
  const size = 100_000
  const http = await startHttp()
  t.after(() => http.close())
  const socket = open(http)
  const before = await heldBytes()
  socket.write(
    requestHead(
      http,
      'POST /v1/kernel/create',
      `Authorization: ${BEARER}`,
      'Content-Type: application/json',
      'Transfer-Encoding: chunked',
    ),
  )
  const [served] = await once(http.server, 'request')
  await new Promise<void>((resolve) => socket.write('1\r\n \r\n'.repeat(size), () => resolve()))
  await until(() => served.socket.bytesRead >= 6 * size)
  assert.ok((await heldBytes()) - before < 4_000_000)
  socket.destroy()
})
