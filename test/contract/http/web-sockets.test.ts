import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { kernelCreatedSchema } from '@cob/protocol'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'
import { closing, open, requestHead } from '../../support/raw-http.ts'

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
