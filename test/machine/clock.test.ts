/** Run by `guest.ts`, as root: the machine's time of day jumps, which no test may do to the machine it shares. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { createRestartingServer } from '../support/restarting-server.ts'

const HOUR_S = 3600
/** Long for what is here, short beside the jump. */
const TIMEOUT_MS = 240_000
const server = createRestartingServer()
let jumpedS = 0

const jump = (seconds: number): void => {
  execFileSync('date', ['-s', `@${Math.floor(Date.now() / 1000) + seconds}`])
  jumpedS += seconds
}
before(() => server.start())
after(async () => {
  jump(-jumpedS)
  await server.close()
})

test('the time of day jumps an hour either way: what runs goes on, and no deadline comes sooner or later', async () => {
  const limits = { resourceLimits: { timeout: TIMEOUT_MS, idleTimeout: TIMEOUT_MS } }
  const [kernel, short] = [
    await server.api.create(limits),
    await server.api.create({ resourceLimits: { timeout: 2000 } }),
  ]
  await server.api.run(kernel, 'x = 41')
  const code = 'import time\nfor i in range(20): print(i, flush=True); time.sleep(0.1)'
  const counted = async (seconds: number): Promise<void> => {
    const codeId = `counting ${seconds}`
    await server.api.run(kernel, code, { prefer: 'wait=0' }, codeId)
    jump(seconds)
    const { stdout, status } = await server.api.run(kernel, '', {}, codeId)
    assert.equal(status, 'finished')
    assert.ok(stdout.endsWith('19\n'))
    const { age, idle } = await server.api.info(kernel)
    assert.ok(idle >= 0 && age >= idle && age < TIMEOUT_MS)
  }
  await counted(HOUR_S)
  await server.end('SIGKILL')
  jump(-2 * HOUR_S)
  await server.start()
  assert.equal((await server.api.run(kernel, 'x + 1')).value?.['text/plain'], '42')
  await counted(-HOUR_S)
  const timedOut = await server.api.run(short, 'while True: pass')
  assert.deepEqual([timedOut.status, timedOut.reason], ['terminated', 'query-timeout'])
  assert.equal((await server.api.gone(short)).reason, 'query-timeout')
  await server.api.destroy(kernel)
})
