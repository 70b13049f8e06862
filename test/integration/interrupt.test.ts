import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'

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

for (const [what, code] of Object.entries(ENDLESS)) {
  test(`${what} is interrupted and variables stay`, async () => {
    const kernel = await server.create()
    await server.run(kernel, 'x = 42')
    let part = await server.run(kernel, code, { prefer: 'wait=0' }, 'endless')
    for (let said = part.stdout; said === ''; said = part.stdout)
      part = await server.run(kernel, '', { prefer: 'wait=1' }, 'endless')
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
