import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

test('variables last over 1,000 executions', async () => {
  const id = await server.create()
  await server.run(id, 'n = 0')
  for (let i = 0; i < 998; i++) await server.run(id, 'n += 1')
  const last = await server.run(id, 'n')
  assert.equal(last.value?.['text/plain'], '998')
  assert.equal(last.executionCount, 1000)
  assert.equal((await server.info(id)).numQueriesExecuted, 1000)
})

const ENDS = [
  {
    name: 'a query over its time',
    reason: 'query-timeout',
    code: 'print("partial")\nwhile True: pass',
    limits: { timeout: 500 },
  },
  {
    name: 'a query that ignores every signal',
    reason: 'query-timeout',
    limits: { timeout: 500 },
    code: 'import signal, time\nfor s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)\nprint("partial")\ntime.sleep(1000)',
  },
  {
    name: 'memory over the limit',
    reason: 'out-of-memory',
    code: 'print("partial")\nx = b"x" * 300_000_000',
    limits: { maxMem: 100_000 },
  },
  {
    name: 'files over the memory limit',
    reason: 'out-of-memory',
    limits: { maxMem: 60_000 },
    code: 'print("partial")\nwith open("/tmp/a", "wb") as f, open("b", "wb") as g:\n  for i in range(200): f.write(bytes(1_000_000)); g.write(bytes(1_000_000))',
  },
  { name: 'os._exit', reason: 'crashed', code: 'print("partial")\nimport os; os._exit(3)', limits: {} },
  {
    name: 'a segmentation fault',
    reason: 'crashed',
    code: 'print("partial")\nimport ctypes; ctypes.string_at(0)',
    limits: {},
  },
  {
    name: 'killing everything',
    reason: 'crashed',
    code: 'print("partial")\nimport os; os.kill(os.getpid(), 9)',
    limits: {},
  },
  {
    name: 'CPU time over the credit',
    reason: 'cpu-credit-exhausted',
    code: 'print("partial")\nwhile True: pass',
    limits: { maxCpuCredit: 700 },
  },
] as const

for (const { name, reason, code, limits } of ENDS) {
  test(`${name} ends the session as ${reason}, with the partial output, and a neighbour goes on`, async () => {
    const [id, neighbour] = await Promise.all([server.create({ resourceLimits: limits }), server.create()])
    const result = await server.run(id, code)
    assert.deepEqual([result.status, result.reason, result.stdout], ['terminated', reason, 'partial\n'])
    assert.equal((await server.gone(id)).reason, reason)
    assert.equal((await server.run(neighbour, '1+1')).value?.['text/plain'], '2')
    assert.equal((await server.call('DELETE', `/v1/kernel/${neighbour}`)).status, 204)
  })
}

test('a session nobody uses ends as idle-timeout', async () => {
  const id = await server.create({ resourceLimits: { idleTimeout: 300 } })
  assert.equal((await server.gone(id)).reason, 'idle-timeout')
})

test('destroying a kernel ends its running query with the reason', async () => {
  const id = await server.create()
  const running = server.run(id, 'print("on"); import time; time.sleep(1000)', { prefer: 'wait=100' })
  await until(async () => (await server.info(id)).status === 'busy')
  assert.equal((await server.call('DELETE', `/v1/kernel/${id}`)).status, 204)
  const result = await running
  assert.deepEqual([result.status, result.reason], ['terminated', 'user-requested'])
})

test('concurrent creates with one token make one kernel', async () => {
  const answers = await Promise.all(
    Array.from({ length: 10 }, () =>
      server.call<{ kernelId: string; created: boolean }>('POST', '/v1/kernel/create', {
        lang: 'python',
        clientSessionToken: 'one of ten',
      }),
    ),
  )
  assert.equal(new Set(answers.map(({ body }) => body.kernelId)).size, 1)
  assert.equal(answers.filter(({ body }) => body.created).length, 1)
  const id = answers[0]?.body.kernelId ?? ''
  assert.equal((await server.call('DELETE', `/v1/kernel/${id}`)).status, 204)
  assert.notEqual(await server.create({ clientSessionToken: 'one of ten' }), id)
})

test('environ is set in the kernel, and nothing of the server is', async () => {
  process.env.CANARY_OF_THE_SERVER = 'canary'
  const id = await server.create({ environ: { GREETING: 'hello', LANG: 'C.UTF-8' } })
  const { stdout } = await server.run(
    id,
    `import os
print(os.environ['GREETING'])
seen = ''.join(open(f'/proc/{p}/environ', errors='replace').read() for p in os.listdir('/proc') if p.isdigit() and os.access(f'/proc/{p}/environ', os.R_OK))
print('canary' in seen, 'COB_' in seen)
os.system('echo $GREETING')`,
  )
  assert.equal(stdout, 'hello\nFalse False\nhello\n')
  await server.call('PATCH', `/v1/kernel/${id}`)
  assert.equal((await server.run(id, 'import os; os.environ["GREETING"]')).value?.['text/plain'], "'hello'")
  delete process.env.CANARY_OF_THE_SERVER
})

test('when all kernels are in use, the next create gets 503 with Retry-After, and room when one ends', async () => {
  const small = await startServer({ COB_MAX_KERNELS: '2', COB_MAX_KERNELS_PER_KEY: '2' })
  try {
    const [first] = await Promise.all([small.create(), small.create()])
    const refused = await small.call('POST', '/v1/kernel/create', { lang: 'python3' })
    assert.deepEqual([refused.status, refused.body.code], [503, 'no-capacity'])
    assert.ok(Number(refused.headers.get('retry-after')) > 0)
    await small.call('DELETE', `/v1/kernel/${first}`)
    await small.create()
  } finally {
    await small.close()
  }
})
