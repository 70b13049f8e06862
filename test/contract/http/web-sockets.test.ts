import assert from 'node:assert/strict'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { after, before, test } from 'node:test'
import { kernelCreatedSchema } from '@cob/protocol'
import { WebSocket } from 'ws'
import type { Sessions } from '../../../packages/server/src/sessions/sessions.ts'
import type { Terminal } from '../../../packages/server/src/sessions/terminals.ts'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'
import { closing, open, readAnswer, requestHead } from '../../support/raw-http.ts'

let http: HttpFixture
let kernel: string
before(async () => {
  http = await startHttp()
  kernel = await createKernel(http)
})
after(() => http.close())

async function createKernel({ url }: HttpFixture): Promise<string> {
  const response = await fetch(`${url}/v1/kernel/create`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json' },
    body: '{"lang": "fake"}',
  })
  return kernelCreatedSchema.parse(await response.json()).kernelId
}

function connectTo({ host }: HttpFixture, id: string, what: string): WebSocket {
  return new WebSocket(`ws://${host}/v1/stream/kernel/${id}/${what}`, { headers: { authorization: BEARER } })
}

const UPGRADE = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
/** A close frame without a code, masked with zeros (RFC 6455, 5.5.1). */
const CLOSE = Buffer.from([0x88, 0x80, 0, 0, 0, 0])

test('a terminal whose client leaves before there is a shell harms nobody', async () => {
  for (let count = 0; count < 10; count++) {
    const socket = open(http)
    const closed = closing(socket)
    socket.write(
      requestHead(http, `GET /v1/stream/kernel/${kernel}/pty`, `Authorization: ${BEARER}`, ...UPGRADE),
    )
    socket.write(CLOSE)
    const [answer] = await once(
      socket.once('end', () => socket.end()),
      'data',
    )
    assert.match(String(answer), /^HTTP\/1.1 101 /)
    await closed
  }
  assert.equal((await fetch(`${http.url}/healthz`)).status, 200)
})

test('whoever asks for a WebSocket and does not get one is answered like anybody, and disconnected', async (t) => {
  const hasty = await startHttp({ bounds: { keepAliveMs: 50, checkEveryMs: 10 } })
  t.after(() => hasty.close())
  const own = await createKernel(hasty)
  const bearer = `Authorization: ${BEARER}`
  const cases = [
    ['GET /v1/nothing', [], 404, 'no-such-route'],
    ['GET /v1/stream/kernel/TSSJT2Z4SnmQhxjWMnJljg/pty', [], 401, 'unauthorized'],
    [`GET /v1/stream/kernel/${own}/events`, ['Authorization: Bearer a:b'], 401, 'unauthorized'],
    ['GET /v1/stream/kernel/TSSJT2Z4SnmQhxjWMnJljg/pty', [bearer], 404, 'no-such-kernel'],
    ['GET /v1/stream/kernel/nonsense/pty/?a=b', [bearer], 404, 'malformed-kernel-id'],
    ['GET /v1/stream/kernel/%ff/pty', [bearer], 400, 'invalid-request'],
    [`PUT /v1/stream/kernel/${own}/pty`, [bearer], 405, 'method-not-allowed'],
    [`HEAD /v1/stream/kernel/${own}/pty`, [bearer], 426, undefined],
    ['GET /healthz', [], 200, undefined],
  ] as const
  const ask = async ([line, headers, status, code]: (typeof cases)[number]): Promise<void> => {
    const socket = open(hasty)
    const closed = closing(socket)
    socket.write(requestHead(hasty, line, ...headers, ...UPGRADE))
    const answer = await readAnswer(socket, { isHead: line.startsWith('HEAD') })
    assert.equal(answer.status, status, line)
    if (code !== undefined) assert.equal(JSON.parse(answer.text).code, code, line)
    socket.once('end', () => socket.end()).resume()
    await closed
  }
  await Promise.all(cases.map(ask))
})

test('a WebSocket that nobody decides about is not kept', async (t) => {
  const sessions = { info: () => new Promise(() => {}) }
  // Only whether there is a session is asked.
  const stuck = await startHttp({ sessions: sessions as unknown as Sessions, bounds: { requestMs: 50 } })
  t.after(() => stuck.close())
  const socket = open(stuck)
  const closed = closing(socket)
  socket.write(
    requestHead(stuck, `GET /v1/stream/kernel/${kernel}/pty`, `Authorization: ${BEARER}`, ...UPGRADE),
  )
  socket.once('end', () => socket.end()).resume()
  await closed
})

test('a key that is disabled ends what was begun with it: terminals, events of the session, streams of code, uploads', async (t) => {
  // Time enough for an answer to a ping on a busy machine: who gives none is cut off.
  const hasty = await startHttp({ bounds: { pingMs: 300 } })
  t.after(() => hasty.close())
  const own = await createKernel(hasty)
  const headers = { authorization: BEARER, 'content-type': 'application/json' }
  const sockets = ['pty', 'events'].map((what) => connectTo(hasty, own, what))
  await Promise.all(sockets.map((socket) => once(socket, 'open')))
  const post = {
    method: 'POST',
    headers: { ...headers, accept: 'text/event-stream' },
    body: '{"code": "hang"}',
  }
  const stream = await fetch(`${hasty.url}/v1/kernel/${own}`, post)
  const upload = open(hasty)
  const file = `PUT /v1/kernel/${own}/files/a.bin`
  const head = [`Authorization: ${BEARER}`, 'Content-Length: 9', 'Expect: 100-continue']
  upload.write(requestHead(hasty, file, ...head))
  await once(upload, 'data')
  upload.write('only a')
  const broken = closing(upload)
  upload.once('end', () => upload.end()).resume()
  const closed = sockets.map((socket) => once(socket, 'close'))
  hasty.store.changeKey(KEY.accessKey, (key) => ({ ...key, disabledAt: 1 }))
  for (const [code, reason] of await Promise.all(closed))
    assert.deepEqual([code, String(reason)], [1008, 'the key is disabled'])
  await assert.rejects(stream.text())
  await broken
})

test('a terminal whose shell reads nothing is kept, and obeys what is no typing', async (t) => {
  const resized = Promise.withResolvers<unknown>()
  const terminal: Terminal = {
    output: new PassThrough(),
    exitStatus: undefined,
    type: () => new Promise(() => {}),
    resize: resized.resolve,
    close: () => {},
  }
  const sessions = { info: () => {}, openTerminal: async () => terminal }
  // Only these are asked for.
  const options = { sessions: sessions as unknown as Sessions, bounds: { pingMs: 20 } }
  const hasty = await startHttp(options)
  t.after(() => hasty.close())
  const socket = connectTo(hasty, kernel, 'pty')
  await once(socket, 'open')
  for (let count = 0; count < 3; count++) socket.send('{"type": "stdin", "chars": "eA=="}')
  for (let count = 0; count < 3; count++) await once(socket, 'ping')
  socket.send('{"type": "resize", "rows": 7, "cols": 9}')
  assert.deepEqual(await resized.promise, { rows: 7, cols: 9 })
  socket.close()
})
