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

for (const [name, seconds] of [
  ['forward', HOUR_S],
  ['back', -HOUR_S],
] as const) {
  test(`the time of day jumps an hour ${name}: what runs goes on, and no deadline comes sooner or later`, async () => {
    const limits = { resourceLimits: { queryTimeout: TIMEOUT_MS, idleTimeout: TIMEOUT_MS } }
    const [kernel, looping] = [await server.api.create(limits), await server.api.create(limits)]
    await server.api.run(kernel, 'x = 41')
    const code = 'import time\nfor i in range(20): print(i, flush=True); time.sleep(0.1)'
    await server.api.run(kernel, code, { prefer: 'wait=0' }, 'counting')
    jump(seconds)
    const { stdout, status } = await server.api.run(kernel, '', {}, 'counting')
    assert.equal(status, 'finished')
    assert.ok(stdout.endsWith('19\n'))
    const { age, idle } = await server.api.info(kernel)
    assert.ok(idle >= 0 && age >= idle && age < TIMEOUT_MS)

    const short = await server.api.create({ resourceLimits: { queryTimeout: 1000 } })
    const timedOut = await server.api.run(short, 'while True: pass')
    assert.deepEqual([timedOut.status, timedOut.reason], ['terminated', 'query-timeout'])
    assert.equal((await server.api.gone(short)).reason, 'query-timeout')

    await server.end('SIGKILL')
    jump(seconds > 0 ? -2 * HOUR_S : 2 * HOUR_S)
    await server.start()
    const { value } = await server.api.run(kernel, 'x + 1')
    assert.equal(value?.['text/plain'], '42')
    assert.ok((await server.api.info(kernel)).age < TIMEOUT_MS)
    for (const each of [kernel, looping]) await server.api.destroy(each)
  })
}
