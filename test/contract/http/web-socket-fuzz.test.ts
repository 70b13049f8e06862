import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { kernelCreatedSchema, sessionEventSchema } from '@cob/protocol'
import fc from 'fast-check'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { closeFrame, decodeFrames, type FuzzClient, fuzzClients } from '../../support/fuzz-frames.ts'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'
import { heldBytes } from '../../support/memory.ts'
import { closing, open } from '../../support/raw-http.ts'
import { until } from '../../support/until.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)
const CLIENTS = 2000
const WARM_UP = 300
const MAX_GROWTH_BYTES = 10_000_000

/** What the API's documentation says that a server sends. */
const outputs = z.union([
  z.strictObject({ type: z.literal('out'), data: z.base64() }),
  z.strictObject({ type: z.literal('error'), data: z.string().max(4000) }),
  sessionEventSchema,
])
/** RFC 6455, 7.4; a client's own comes back to it. */
const isCloseCode = (code: number): boolean =>
  [1000, 1001, 1002, 1003, 1007, 1008, 1009].includes(code) ||
  (code >= 1010 && code <= 1014) ||
  (code >= 3000 && code < 5000)

let http: HttpFixture
before(async () => {
  // Whoever does not go on is told so soon.
  http = await startHttp({ bounds: { requestMs: 500, headersMs: 500, keepAliveMs: 100, checkEveryMs: 20 } })
})
after(() => http.close())

async function createKernel(): Promise<string> {
  const response = await fetch(`${http.url}/v1/kernel/create`, {
    method: 'POST',
    headers: { authorization: BEARER, 'content-type': 'application/json', connection: 'close' },
    body: '{"lang": "fake", "clientSessionToken": "of these tests"}',
  })
  return kernelCreatedSchema.parse(await response.json()).kernelId
}

function requestOf(kernel: string, { stream, headers }: FuzzClient): string {
  const all = {
    Host: http.host,
    Authorization: BEARER,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  return [`GET /v1/stream/kernel/${kernel}/${stream} HTTP/1.1`, ...lines, '', ''].join('\r\n')
}

/** Does what the client does; everything that the server said, once the connection is closed. */
async function play(kernel: string, client: FuzzClient): Promise<Buffer> {
  const { pieces, isHasty, ending } = client
  const socket = open(http)
  const closed = closing(socket)
  const said: Buffer[] = []
  const answered = new Promise<void>((resolve) =>
    socket
      .on('data', (chunk: Buffer) => {
        said.push(chunk)
        resolve()
      })
      .once('close', () => resolve()),
  )
  socket.once('end', () => socket.end())
  socket.write(
    Buffer.concat([Buffer.from(requestOf(kernel, client)), ...(isHasty ? pieces.slice(0, 1) : [])]),
  )
  if (!isHasty) await answered
  for (const piece of isHasty ? pieces.slice(1) : pieces) {
    socket.write(piece)
    await new Promise(setImmediate)
  }
  if (ending === 'reset') socket.resetAndDestroy()
  else socket.end(ending === 'close' ? closeFrame() : '')
  await closed
  return Buffer.concat(said)
}

/** What a server may say to anybody. Returns the status. */
function check(said: Buffer): number {
  if (said.length === 0) return 0
  const end = said.indexOf('\r\n\r\n') + 4
  const head = said.toString('latin1', 0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
  const rest = said.subarray(end)
  if (status !== 101) {
    assert.ok(status >= 400 && status < 500, head)
    assert.match(head, /^content-type: application\/problem\+json/im)
    return status
  }
  for (const { opcode, payload } of decodeFrames(rest)) {
    if (opcode === 1) outputs.parse(JSON.parse(payload.toString('utf8')))
    else if (opcode === 8 && payload.length > 0) {
      assert.ok(isCloseCode(payload.readUInt16BE(0)), `closed with ${payload.toString('latin1')}`)
    } else assert.ok([8, 9, 10].includes(opcode), `a frame of type ${opcode}`)
  }
  return status
}

test(`no client of a WebSocket, whatever it sends and however it leaves, harms the server (seed ${SEED})`, {
  timeout: 120_000,
}, async () => {
  const seen = new Map<number, number>()
  const fuzz = (seed: number, numRuns: number): Promise<void> =>
    fc.assert(
      fc.asyncProperty(fc.array(fuzzClients, { minLength: 4, maxLength: 4 }), async (clients) => {
        // One that a client made crash is no longer there.
        const kernel = await createKernel()
        for (const said of await Promise.all(clients.map((client) => play(kernel, client)))) {
          const status = check(said)
          seen.set(status, (seen.get(status) ?? 0) + 1)
        }
      }),
      { seed, numRuns: numRuns / 4, endOnFailure: true },
    )
  const connections = promisify(http.server.getConnections.bind(http.server))
  const settle = async (): Promise<{ bytes: number; resources: number }> => {
    await until(async () => (await connections()) === 0)
    return { bytes: await heldBytes(), resources: process.getActiveResourcesInfo().length }
  }

  await fuzz(SEED ^ 1, WARM_UP)
  const earlier = await settle()
  await fuzz(SEED, CLIENTS)
  const later = await settle()
  assert.ok(
    later.bytes - earlier.bytes < MAX_GROWTH_BYTES,
    `${later.bytes - earlier.bytes} bytes more are held`,
  )
  assert.ok(
    later.resources <= earlier.resources,
    `${later.resources - earlier.resources} handles more are open`,
  )
  for (const status of [101, 400, 401]) assert.ok((seen.get(status) ?? 0) > 0, `no ${status} was seen`)

  // No terminal is counted that is not there.
  const kernel = await createKernel()
  for (let count = 0; count < 8; count++) {
    const socket = new WebSocket(`ws://${http.host}/v1/stream/kernel/${kernel}/pty`, {
      headers: { authorization: BEARER },
    })
    await once(socket, 'open')
    socket.send(JSON.stringify({ type: 'stdin', chars: 'aGVsbG8=' }))
    const [message] = await once(socket, 'message')
    assert.deepEqual(JSON.parse(String(message)), { type: 'out', data: 'aGVsbG8=' })
  }
})
