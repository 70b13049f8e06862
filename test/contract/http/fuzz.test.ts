import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { createKey } from '../../../packages/server/src/store/key.ts'
import {
  CHANGED_KEY,
  document,
  type FuzzRequest,
  fuzzRequests,
  operations,
} from '../../support/fuzz-requests.ts'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'
import { heldBytes } from '../../support/memory.ts'
import { open, type RawAnswer, readAnswer } from '../../support/raw-http.ts'
import { until } from '../../support/until.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)
const REQUESTS = 10_000
const WARM_UP = 1000
const MAX_GROWTH_BYTES = 10_000_000

const ajv = new Ajv2020({ strict: false, formats: { uri: true, 'date-time': true } }).addSchema(
  document,
  'api',
)
const pointer = (...steps: string[]): string =>
  `api#/${steps.map((step) => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`

let http: HttpFixture
let socket: Socket | undefined
before(async () => {
  // A request that is not understood as it was meant is told so soon.
  http = await startHttp({ bounds: { requestMs: 3000, headersMs: 3000, checkEveryMs: 100 } })
  http.store.addKey({ ...createKey(), accessKey: CHANGED_KEY })
})
after(() => http.close())

async function send({ method, target, headers, body }: FuzzRequest): Promise<RawAnswer> {
  if (!socket || socket.destroyed) {
    socket = open(http)
    await once(socket, 'connect')
  }
  const lines = [`${method} ${target} HTTP/1.1`, `host: ${http.host}`, `content-length: ${body.length}`]
  for (const [name, value] of headers) lines.push(`${name}: ${value}`)
  socket.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]))
  const answer = await readAnswer(socket, { isHead: method === 'HEAD' })
  if (answer.headers.get('connection') === 'close' || answer.headers.has('transfer-encoding'))
    socket.destroy()
  return answer
}

/** What any answer has to be, and what the document says of this one. */
function check({ method, operation }: FuzzRequest, { status, headers, text }: RawAnswer): void {
  const about = `${status} ${text.slice(0, 500)}`
  assert.ok(headers.get('x-request-id'), about)
  const type = headers.get('content-type')?.split(';')[0] ?? ''
  if (status >= 400 && method !== 'HEAD') {
    assert.equal(type, 'application/problem+json', about)
    const problem = JSON.parse(text)
    assert.ok(ajv.validate(pointer('components', 'schemas', 'Problem'), problem), about)
    assert.equal(problem.status, status)
    assert.ok(status < 500 || problem.code === 'no-capacity', about)
    assert.ok(text.length < 4000, about)
  }
  const [, path = ''] = operation?.split(' ') ?? []
  const responses = operation === undefined ? undefined : operations.get(operation)?.responses
  if (!responses) return
  const name = status in responses ? String(status) : `${String(status)[0]}XX`
  assert.ok(name in responses, `an answer that is not documented: ${about}`)
  const content = responses[name]?.content
  if (!content) {
    assert.equal(text, '')
    return
  }
  const schema = pointer('paths', path, method.toLowerCase(), 'responses', name, 'content', type, 'schema')
  assert.ok(type in content, about)
  if (type.endsWith('json') && !headers.has('transfer-encoding'))
    assert.ok(ajv.validate(schema, JSON.parse(text)), `${about} ${ajv.errorsText()}`)
}

test(`nothing that can be sent makes a 5xx, a hang, a leak or an answer that is not documented (seed ${SEED})`, {
  timeout: 120_000,
}, async () => {
  const seen = new Map([...operations.keys()].map((name) => [name, { good: 0, odd: 0, answered: 0 }]))
  /** Kernels that were made here; most have gone since. */
  const kernelIds: string[] = []
  const requests = fuzzRequests(kernelIds)
  // Chance alone hardly ever finds code that waits for these.
  const forWaiting = [...operations.keys()].filter((name) => /\/(input|interrupt)$/.test(name))
  let asked = 0
  const answerWaiting = async ({ target, headers }: FuzzRequest, { text }: RawAnswer): Promise<void> => {
    const [, id] = /^\/v1\/kernel\/([\w-]{22})$/.exec(target) ?? []
    const { status, executionId } = JSON.parse(text).result ?? {}
    if (status !== 'waiting-input' || !id) return
    const isNew = (name: string): boolean => seen.get(name)?.answered === 0
    const operation = forWaiting.find(isNew) ?? forWaiting[asked++ % forWaiting.length]
    if (!operation) return
    const path = operation.split(' ')[1] ?? ''
    const request = {
      method: 'POST',
      operation,
      target: path.replace('{id}', id).replace('{executionId}', executionId),
      headers,
      body: Buffer.from(path.endsWith('/input') ? '{"text": ""}' : '{}'),
    }
    const answer = await send(request)
    check(request, answer)
    const count = seen.get(operation)
    if (count && answer.status < 300) count.answered++
  }
  const fuzz = (seed: number, numRuns: number): Promise<void> =>
    fc.assert(
      fc.asyncProperty(requests, async (request) => {
        const answer = await send(request)
        check(request, answer)
        if (answer.status === 201 && request.target.startsWith('/v1/kernel/create'))
          kernelIds.push(JSON.parse(answer.text).kernelId)
        if (answer.status === 200 && request.isGood && answer.text.startsWith('{"result"'))
          await answerWaiting(request, answer)
        const count = seen.get(request.operation ?? '')
        if (!count) return
        if (request.isGood) count.good++
        else count.odd++
        if (answer.status < 300) count.answered++
      }),
      { seed, numRuns, endOnFailure: true },
    )
  const connections = promisify(http.server.getConnections.bind(http.server))
  /** Ends what the requests left, and tells what is held all the same. */
  const settle = async (): Promise<{ bytes: number; resources: number }> => {
    for (const name of [KEY.accessKey, 'AKIAOTHER']) {
      const headers = [['authorization', BEARER.replace(KEY.accessKey, name)]] as const
      const list = await send({ method: 'GET', target: '/v1/kernels', headers, body: Buffer.alloc(0) })
      assert.equal(list.status, 200)
      for (const { kernelId } of JSON.parse(list.text).kernels)
        await send({ method: 'DELETE', target: `/v1/kernel/${kernelId}`, headers, body: Buffer.alloc(0) })
    }
    // Not so for a sandbox that no listing tells of.
    await until(() => http.backend.live.size === 0)
    socket?.destroy()
    await until(async () => (await connections()) === 0)
    return { bytes: await heldBytes(), resources: process.getActiveResourcesInfo().length }
  }

  await fuzz(SEED ^ 1, WARM_UP)
  const earlier = await settle()
  await fuzz(SEED, REQUESTS)
  const later = await settle()
  assert.ok(
    later.bytes - earlier.bytes < MAX_GROWTH_BYTES,
    `${later.bytes - earlier.bytes} bytes more are held`,
  )
  assert.ok(
    later.resources <= earlier.resources,
    `${later.resources - earlier.resources} handles more are open`,
  )
  // None of these requests is a WebSocket's, which has a test of its own.
  for (const [name, { good, odd, answered }] of seen)
    assert.ok(good > 0 && odd > 0 && (answered > 0 || name.includes('/stream/')), `${name} was not reached`)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})
