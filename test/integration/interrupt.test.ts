import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

/** Code that runs for ever once it has said so. */
const ENDLESS = {
  'a loop': 'print("runs")\nwhile True: pass',
  'time.sleep': 'import time\nprint("runs")\ntime.sleep(1e9)',
  'a child process': 'import subprocess\nprint("runs")\nsubprocess.run(["sleep", "1000"])',
  'a loop of numpy': 'import numpy\nm = numpy.ones((300, 300))\nprint("runs")\nwhile True: m = m @ m',
}

/** Starts code and waits until it has printed something. */
async function untilPrinted(kernel: string, code: string, codeId: string): Promise<void> {
  const { stdout } = await server.run(kernel, code, { prefer: 'wait=0' }, codeId)
  if (stdout !== '') return
  await until(async () => (await server.run(kernel, '', { prefer: 'wait=1' }, codeId)).stdout !== '')
}

for (const [what, code] of Object.entries(ENDLESS)) {
  test(`${what} is interrupted and variables stay`, async () => {
    const kernel = await server.create()
    await server.run(kernel, 'x = 42')
    await untilPrinted(kernel, code, 'endless')
    const { status } = await server.call('POST', `/v1/kernel/${kernel}/interrupt`)
    assert.equal(status, 204)
    const end = await server.run(kernel, '', {}, 'endless')
    assert.equal(end.status, 'interrupted')
    assert.equal(end.exceptions[0]?.[0], 'KeyboardInterrupt')
    assert.equal((await server.run(kernel, 'x')).value?.['text/plain'], '42')
    await server.destroy(kernel)
  })
}

test('where nothing runs there is nothing to interrupt', async () => {
  const kernel = await server.create()
  const { status, body } = await server.call('POST', `/v1/kernel/${kernel}/interrupt`)
  assert.deepEqual([status, body.code], [409, 'nothing-runs'])
})

test('code that ignores interrupts is restarted after a while', async () => {
  const kernel = await server.create()
  const code = 'import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint("runs")\nwhile True: pass'
  await untilPrinted(kernel, code, 'stubborn')
  assert.equal((await server.call('POST', `/v1/kernel/${kernel}/interrupt`)).status, 204)
  const end = await server.run(kernel, '', {}, 'stubborn')
  assert.deepEqual([end.status, end.reason], ['terminated', 'restarted'])
  assert.equal((await server.run(kernel, '6 * 7')).value?.['text/plain'], '42')
})

test('code that waits its turn will not run once it was interrupted, and what runs goes on', async () => {
  const kernel = await server.create()
  const code = 'import os, time\nwhile not os.path.exists("go"): time.sleep(0.01)\nx = input()'
  const running = server.run(kernel, code, { prefer: 'wait=60' }, 'running')
  const waiting = server.run(kernel, 'open("ran", "w")', {}, 'waiting')
  // Once it is asked, the next one that comes is the answer.
  await until(async () => (await server.info(kernel)).numQueriesExecuted === 2)
  await server.call('PUT', `/v1/kernel/${kernel}/files/go`, '')
  await running
  assert.equal((await server.call('POST', `/v1/kernel/${kernel}/executions/waiting/interrupt`)).status, 204)
  assert.equal((await waiting).status, 'interrupted')
  await server.run(kernel, 'answer', {}, 'running')
  const { value } = await server.run(kernel, 'import os\nx, os.path.exists("ran")')
  assert.equal(value?.['text/plain'], "('answer', False)")
})
