import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

/** The request body as spec/kernel-management-v1.txt prints it (its outer braces were lost in the page). */
const CONTRACT_REQUEST = `{
  "lang": "python3",
  "clientSessionToken": "EXAMPLE:STRING",
  "resourceLimits": {
    "maxMem": 51240,
    "timeout": 5000
  }
}`

const CONTRACT_FIELDS = [
  'lang',
  'age',
  'idle',
  'queryTimeout',
  'idleTimeout',
  'maxCpuCredit',
  'numQueriesExecuted',
  'memoryUsed',
  'cpuCreditUsed',
]

test("the contract's own example creates a kernel, runs within its limits and goes through its life", async () => {
  const created = await server.call<{ kernelId: string; created: boolean }>(
    'POST',
    '/v1/kernel/create',
    CONTRACT_REQUEST,
  )
  assert.equal(created.status, 201)
  assert.equal(created.body.created, true)
  assert.match(created.body.kernelId, /^[A-Za-z0-9_-]{22}$/)
  assert.equal(Buffer.from(created.body.kernelId, 'base64url').length, 16)
  const id = created.body.kernelId

  const again = await server.call<{ kernelId: string; created: boolean }>(
    'POST',
    '/v1/kernel/create',
    CONTRACT_REQUEST,
  )
  assert.deepEqual([again.status, again.body], [201, { kernelId: id, created: false }])

  assert.equal(
    (await server.run(id, 'import json, collections, math; math.factorial(10)')).value?.['text/plain'],
    '3628800',
  )

  const { status, body } = await server.call<Record<string, unknown>>('GET', `/v1/kernel/${id}`)
  assert.equal(status, 200)
  for (const field of CONTRACT_FIELDS) assert.ok(field in body, field)
  assert.equal(body.lang, 'python3')
  assert.equal(body.queryTimeout, 5000)
  assert.equal(body.maxMem, 51240)
  assert.equal(body.maxCpuCredit, 0)
  assert.equal(body.numQueriesExecuted, 1)
  for (const field of CONTRACT_FIELDS.slice(1))
    assert.ok(Number.isInteger(body[field]) && Number(body[field]) >= 0, field)
  assert.ok(
    Number(body.memoryUsed) > 1000 && Number(body.memoryUsed) < 51240,
    `memoryUsed ${body.memoryUsed}`,
  )

  const restarted = await server.call('PATCH', `/v1/kernel/${id}`)
  assert.deepEqual([restarted.status, restarted.body], [204, undefined])
  const destroyed = await server.call('DELETE', `/v1/kernel/${id}`)
  assert.deepEqual([destroyed.status, destroyed.body], [204, undefined])
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    const gone = await server.call(method, `/v1/kernel/${id}`)
    assert.equal(gone.status, 404)
    assert.equal(gone.body.reason, 'user-requested')
    assert.ok(!Number.isNaN(Date.parse(String(gone.body.terminatedAt))))
  }
})

test("the contract's example id, which never was, is not found", async () => {
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    const { status, body } = await server.call(method, '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg')
    assert.deepEqual([status, body.code], [404, 'no-such-kernel'])
  }
})

test("limits over the server's own are not acceptable and create nothing", async () => {
  for (const resourceLimits of [{ maxMem: 10 ** 12 }, { timeout: 10 ** 12 }, { idleTimeout: 10 ** 12 }]) {
    const { status, body } = await server.call('POST', '/v1/kernel/create', {
      lang: 'python3',
      resourceLimits,
    })
    assert.equal(status, 406)
    assert.match(body.detail, /1000000000000/)
    assert.equal(body.code, 'limits-exceeded')
  }
  const { body } = await server.call<{ kernels: unknown[] }>('GET', '/v1/kernels')
  assert.deepEqual(body, { kernels: [] })
})

test('restart keeps files, id, age, query count and CPU time; loses variables, modules, processes and idle time', async () => {
  const id = await server.create()
  await server.run(
    id,
    `import subprocess, sys, json
x = 1
open('kept.txt', 'w').write('still here')
p = subprocess.Popen(['sleep', '1000'], start_new_session=True)
sum(range(3_000_000))`,
  )
  const before = await server.info(id)
  assert.equal((await server.call('PATCH', `/v1/kernel/${id}`)).status, 204)
  const result = await server.run(
    id,
    `import os, sys
print('x' in globals(), 'json' in globals(), open('kept.txt').read())
print([p for p in os.listdir('/proc') if p.isdigit() and b'sleep' in open(f'/proc/{p}/cmdline','rb').read()])`,
  )
  assert.equal(result.stdout, 'False False still here\n[]\n')
  const after = await server.info(id)
  assert.equal(after.kernelId, id)
  assert.ok(after.age >= before.age)
  assert.equal(after.numQueriesExecuted, before.numQueriesExecuted + 1)
  assert.ok(after.cpuCreditUsed >= before.cpuCreditUsed)
})
