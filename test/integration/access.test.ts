import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { KeyLimits, KeyUsage, KeyWithSecret, SessionUsage } from '@cob/protocol'
import { type ApiClient, createApiClient } from '../support/api-client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let server: TestServer
before(async () => {
  server = await startServer({ COB_MAX_WARM: '0' })
})
after(() => server.close())

async function make(limits: Partial<KeyLimits>): Promise<{ key: KeyWithSecret; client: ApiClient }> {
  const { body } = await server.call<KeyWithSecret>('POST', '/v1/admin/keys', { limits })
  return { key: body, client: createApiClient(server.url, `${body.accessKey}:${body.secretKey}`) }
}
const tryCreate = (client: ApiClient, request: object = {}) =>
  client.call<{ kernelId: string; code: string }>('POST', '/v1/kernel/create', {
    lang: 'python3',
    resourceLimits: { maxMem: 60_000 },
    ...request,
  })

test('a key gets as many kernels as it may have, however many it asks for at once', async () => {
  const { client } = await make({ maxKernels: 3 })
  const answers = await Promise.all(Array.from({ length: 8 }, () => tryCreate(client)))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 201, 201, 429, 429, 429, 429, 429])
  assert.ok(answers.every(({ status, body }) => status === 201 || body.code === 'quota-exceeded'))
  const [first] = answers.flatMap(({ status, body }) => (status === 201 ? [body.kernelId] : []))
  await client.destroy(first ?? '')
  const again = await Promise.all([tryCreate(client), tryCreate(client)])
  assert.deepEqual(again.map(({ status }) => status).sort(), [201, 429])
})

test('a key gets as much memory as it may have, and requests with one token count once', async () => {
  const { client } = await make({ maxMem: 130_000 })
  const answers = await Promise.all([
    ...Array.from({ length: 4 }, () => tryCreate(client, { clientSessionToken: 'one and the same' })),
    ...Array.from({ length: 3 }, () => tryCreate(client)),
  ])
  const ids = new Set(answers.flatMap(({ status, body }) => (status === 201 ? [body.kernelId] : [])))
  assert.equal(ids.size, 2)
  assert.deepEqual(
    answers.slice(0, 4).map(({ status }) => status),
    [201, 201, 201, 201],
  )
})

test('usage of a session is what its cgroup says, and is there when it has ended', async () => {
  const { key, client } = await make({})
  const id = await client.create({ resourceLimits: { maxMem: 200_000 } })
  const { stdout } = await client.run(
    id,
    'import time\nx = bytearray(50_000_000)\ndel x\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nprint("ä" * 1000)',
  )
  await client.destroy(id)
  const { body } = await server.call<{ sessions: SessionUsage[] }>(
    'GET',
    `/v1/admin/usage?by=session&key=${key.accessKey}`,
  )
  const [session] = body.sessions
  assert.ok(session)
  assert.ok(session.cpuMs >= 500 && session.cpuMs < 2000, String(session.cpuMs))
  assert.ok(session.peakMemoryKb > 50_000 && session.peakMemoryKb <= 200_000, String(session.peakMemoryKb))
  assert.deepEqual([session.executions, session.outputBytes], [1, Buffer.byteLength(stdout)])
})

test('when the CPU time of the day is used up running code ends, creates are refused, and what rests stays', async () => {
  const { key, client } = await make({ maxCpuPerDay: 1500 })
  const [resting, burning] = [await client.create(), await client.create()]
  await client.run(resting, 'x = 1')
  const { status, reason } = await client.run(burning, 'while True: pass')
  assert.deepEqual([status, reason], ['terminated', 'cpu-credit-exhausted'])
  assert.equal((await tryCreate(client)).body.code, 'quota-exceeded')
  const refused = await client.call('POST', `/v1/kernel/${resting}`, { code: 'x' })
  assert.deepEqual([refused.status, refused.body.code], [429, 'quota-exceeded'])
  assert.equal((await client.info(resting)).status, 'idle')
  await server.call('PATCH', `/v1/admin/keys/${key.accessKey}`, { limits: { maxCpuPerDay: null } })
  assert.equal((await client.run(resting, 'x')).value?.['text/plain'], '1')
  await client.destroy(resting)
  // The one that was ended is told of as terminated a little before nothing of it runs.
  let usage: KeyUsage | undefined
  await until(async () => {
    const { body } = await server.call<{ keys: KeyUsage[] }>('GET', `/v1/admin/usage?key=${key.accessKey}`)
    usage = body.keys[0]
    return usage?.sessions === 2
  })
  assert.ok(Number(usage?.cpuMs) >= 1500, String(usage?.cpuMs))
})

test('a key that was disabled or rotated while it works is refused at its next request', async () => {
  const { key, client } = await make({})
  const id = await client.create()
  await server.call('POST', `/v1/admin/keys/${key.accessKey}/rotate`, { overlapMs: 60_000 })
  assert.equal((await client.run(id, '6 * 7')).value?.['text/plain'], '42')
  await server.call('POST', `/v1/admin/keys/${key.accessKey}/disable`)
  assert.equal((await client.call('GET', `/v1/kernel/${id}`)).status, 401)
  assert.equal((await server.call('DELETE', `/v1/admin/sessions/${id}`)).status, 204)
})

test('a drained server tells when it is empty', async () => {
  const { client } = await make({})
  const id = await client.create()
  const all = await server.call<{ sessions: { kernelId: string }[] }>('GET', '/v1/admin/sessions')
  await server.call('POST', '/v1/admin/drain', { stop: true })
  assert.equal((await tryCreate(client)).body.code, 'draining')
  for (const { kernelId } of all.body.sessions) await server.call('DELETE', `/v1/admin/sessions/${kernelId}`)
  await server.drained
  assert.equal((await client.gone(id)).reason, 'user-requested')
})
