import assert from 'node:assert/strict'
import { readFileSync, rmdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { runEvents } from '../support/events.ts'
import { createRestartingServer, followAcross } from '../support/restarting-server.ts'
import { openTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

const SESSIONS = 50
const PRINTING = 20
const LINES = 200

const server = createRestartingServer({ COB_KEEP_SESSIONS: '1' })
before(() => server.start())
after(() => server.close())

const value = async (kernel: string, code: string): Promise<unknown> =>
  (await server.api.run(kernel, code)).value?.['text/plain']
const killAndStart = async (): Promise<void> => {
  assert.equal(await server.end('SIGKILL'), 'SIGKILL')
  await server.start()
}
/** Starts code under a name, and does not wait. */
const start = (kernel: string, code: string, codeId: string) =>
  server.api.run(kernel, code, { prefer: 'wait=0' }, codeId)

test('kill -9 in the middle of 50 sessions: all answer, those that print go on, and every line is there once', async (t) => {
  const kernels: string[] = []
  while (kernels.length < SESSIONS)
    kernels.push(...(await Promise.all(Array.from({ length: 5 }, () => server.api.create()))))
  await Promise.all(kernels.map((kernel, index) => server.api.run(kernel, `x = ${index}`)))
  const code = `import time\nfor i in range(${LINES}): print(i, flush=True); time.sleep(0.02)\ncount = i`
  const followed = await Promise.all(
    kernels.slice(0, PRINTING).map(async (kernel) => {
      const gone = new AbortController()
      const { url, key } = server
      const { executionId, events } = await runEvents({ url, key, kernel }, code, gone.signal)
      const first = await events.next()
      gone.abort()
      assert.equal(first.value?.id, 1)
      return { kernel, executionId }
    }),
  )
  let running = 0
  const following = followed.map(async ({ kernel, executionId }) => {
    const ids = [1]
    let text = ''
    for await (const event of followAcross(server, kernel, executionId, 1)) {
      ids.push(event.id)
      if (event.type === 'stream') text += event.text
      if (event.type === 'stream' && text.length === event.text.length) running++
    }
    return { ids, text }
  })
  await until(() => running === PRINTING)

  const killedAt = performance.now()
  await killAndStart()
  t.diagnostic(`a server again after ${(performance.now() - killedAt).toFixed(0)} ms`)
  const idle = kernels.slice(PRINTING)
  const values = await Promise.all(idle.map((kernel) => value(kernel, 'x')))
  assert.deepEqual(
    values,
    idle.map((_, index) => String(index + PRINTING)),
  )
  const expected = Array.from({ length: LINES }, (_, i) => `${i}\n`).join('')
  for (const { ids, text } of await Promise.all(following)) {
    assert.equal(text, expected)
    assert.deepEqual(
      ids,
      ids.map((_, index) => index + 1),
    )
  }
  for (const [index, { kernel }] of followed.entries())
    assert.equal(await value(kernel, 'count, x'), `(${LINES - 1}, ${index})`)
  assert.equal((await server.api.info(kernels[0] ?? '')).numQueriesExecuted, 3)
  await Promise.all(kernels.map((kernel) => server.api.destroy(kernel)))
  const { processes, cgroups, runEntries } = server.footprint()
  assert.deepEqual({ processes, cgroups, runEntries }, { processes: 0, cgroups: 0, runEntries: 0 })
})

test('everything can be done with a session that two servers have been killed under', async () => {
  const kernel = await server.api.create()
  await server.api.run(kernel, 'x = 7\nopen("kept.txt", "w").write("kept")')
  await killAndStart()
  await killAndStart()
  assert.equal(await value(kernel, 'x'), '7')
  const headers = { authorization: `Bearer ${server.key}` }
  const file = `${server.url}/v1/kernel/${kernel}/files/kept.txt`
  assert.equal(await (await fetch(file, { headers })).text(), 'kept')

  const looping = server.api.run(kernel, 'while True: pass', {}, 'loop')
  await server.api.run(kernel, '', { prefer: 'wait=0' }, 'loop')
  assert.equal((await server.api.call('POST', `/v1/kernel/${kernel}/interrupt`)).status, 204)
  assert.equal((await looping).status, 'interrupted')

  const terminal = await openTerminal(server, kernel)
  terminal.type('echo $((6 * 7))-shell\r')
  await terminal.until((lines) => lines.includes('42-shell'))
  terminal.close()
  await terminal.closed

  assert.equal((await server.api.call('PATCH', `/v1/kernel/${kernel}`)).status, 204)
  assert.equal((await server.api.run(kernel, 'x')).exceptions[0]?.[0], 'NameError')
  assert.equal(await value(kernel, 'open("kept.txt").read()'), "'kept'")
  const memory = await server.api.run(kernel, "kept = []\nwhile True: kept.append(b'x' * (64 << 20))")
  assert.deepEqual([memory.status, memory.reason], ['terminated', 'out-of-memory'])
  const { reason } = await server.api.gone(kernel)
  await killAndStart()
  assert.equal((await server.api.gone(kernel)).reason, reason)
  assert.equal(server.footprint().processes, 0)
})

test('what waits goes on: a question, code behind it, and a result that came while no server was there', async () => {
  const kernel = await server.api.create()
  const other = await server.api.create()
  assert.equal((await server.api.run(kernel, 'a = input("name? ")\na', {}, 'asks')).status, 'waiting-input')
  await start(other, 'import time; time.sleep(0.5); b = 1\nprint("done")', 'slow')
  await start(other, 'b += 1\nb', 'next')
  await killAndStart()
  assert.equal((await server.api.info(kernel)).status, 'waiting-input')
  const answered = await server.api.run(kernel, 'Ada')
  assert.deepEqual([answered.status, answered.value?.['text/plain']], ['finished', "'Ada'"])
  assert.equal((await server.api.run(other, '', {}, 'slow')).stdout, 'done\n')
  assert.equal((await server.api.run(other, '', {}, 'next')).value?.['text/plain'], '2')
  for (const each of [kernel, other]) await server.api.destroy(each)
})

test('a session that ended while no server was there has its reason, one destroyed stays so, and neither leaves anything', async () => {
  const names = ['killed', 'memory', 'destroyed', 'living'] as const
  const kernels = await Promise.all(names.map(() => server.api.create()))
  const [killed = '', memory = '', destroyed = '', living = ''] = kernels
  const recorded = server.recorded(killed)
  assert.ok(recorded)
  await start(
    memory,
    "import time; time.sleep(0.5)\nkept = []\nwhile True: kept.append(b'x' * (64 << 20))",
    'memory',
  )
  await server.api.destroy(destroyed)
  await server.end('SIGKILL')
  process.kill(recorded.inner.pid, 'SIGKILL')
  await until(() => !isThere(recorded.outer.pid))
  await server.start()
  const reasons = await Promise.all(
    [killed, memory, destroyed].map(async (each) => (await server.api.gone(each)).reason),
  )
  assert.deepEqual(reasons, ['crashed', 'out-of-memory', 'user-requested'])
  assert.equal(await value(living, '6 * 7'), '42')
  await server.api.destroy(living)
  const { processes, cgroups, runEntries } = server.footprint()
  assert.deepEqual({ processes, cgroups, runEntries }, { processes: 0, cgroups: 0, runEntries: 0 })
})

test('a server starts where the sessions were killed with their cgroups, as with a service or a container', async () => {
  const kernel = await server.api.create()
  const recorded = server.recorded(kernel)
  assert.ok(recorded)
  await server.end('SIGKILL')
  process.kill(recorded.inner.pid, 'SIGKILL')
  await until(() => !isThere(recorded.outer.pid))
  for (const { dir } of recorded.cgroups) rmdirSync(dir)
  await server.start()
  assert.equal((await server.api.gone(kernel)).reason, 'server-shutdown')
})

test('SIGTERM leaves sessions to the next server: who waits is told, code goes on; ctrl-C ends them', async () => {
  const kernel = await server.api.create()
  await server.api.run(kernel, 'x = 1')
  const { executionId, events } = await runEvents(
    { url: server.url, key: server.key, kernel },
    'import time\nfor i in range(60): print(i, flush=True); time.sleep(0.02)\nx = 2',
  )
  assert.equal((await events.next()).value?.type, 'started')
  const waiting = server.api.call<Problem>('POST', `/v1/kernel/${kernel}`, { code: 'x', codeId: 'behind' })
  await until(async () => (await server.api.info(kernel)).numQueriesExecuted === 3)
  const stopped = server.end('SIGTERM')
  const seen: number[] = [1]
  for await (const event of events) seen.push(event.id)
  const { status, body } = await waiting
  assert.deepEqual([status, body.code], [503, 'shutting-down'])
  assert.equal(await stopped, 0)

  await server.start({ COB_MAX_WARM: '2' })
  for await (const event of followAcross(server, kernel, executionId, seen.at(-1))) seen.push(event.id)
  assert.deepEqual(
    seen,
    seen.map((_, index) => index + 1),
  )
  assert.equal((await server.api.run(kernel, '', {}, 'behind')).value?.['text/plain'], '2')
  assert.equal(await server.end('SIGINT'), 0)
  await server.start()
  assert.equal((await server.api.gone(kernel)).reason, 'server-shutdown')
  const { processes, cgroups, runEntries } = server.footprint()
  assert.deepEqual({ processes, cgroups, runEntries }, { processes: 0, cgroups: 0, runEntries: 0 })
})

function isThere(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
