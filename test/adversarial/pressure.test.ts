import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { until } from '../support/until.ts'
import { type Arena, openArena } from './arena.ts'

const BOMBS = {
  'fork bomb': 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass',
  // Taken again and again by children, as the session would end with the interpreter.
  'memory bomb': `
import os
while True:
    pid = os.fork()
    if pid == 0:
        kept = []
        while True: kept.append(b'x' * (4 << 20))
    os.waitpid(pid, 0)`,
  'output flood': "import os\nwhile True: os.write(1, b'x' * 65536)",
}
const ASKED = 200
/** The figure is printed; the bound is what says that the session lives, on a machine that does other things too. */
const WORST_MS = 1000

let arena: Arena
before(async () => {
  arena = await openArena()
})
after(() => arena.close())

test('a fork bomb, a memory bomb and an output flood at once do not keep a fourth session from answering', async () => {
  const { api, neighbour } = arena.target
  const kernels = await Promise.all(
    Object.keys(BOMBS).map(() => api.create({ resourceLimits: { maxMem: 131_072, timeout: 60_000 } })),
  )
  const running = Object.values(BOMBS).map((code, i) => api.run(String(kernels[i]), code))
  await until(async () =>
    (await Promise.all(kernels.map((id) => api.info(id)))).every(({ status }) => status === 'busy'),
  )
  const times: number[] = []
  for (let i = 0; i < ASKED; i++) {
    const start = performance.now()
    const { value } = await api.run(neighbour, '1+1')
    times.push(performance.now() - start)
    assert.equal(value?.['text/plain'], '2')
  }
  times.sort((a, b) => a - b)
  const [p50, p99, worst] = [0.5, 0.99, 1].map((part) => times[Math.ceil(part * ASKED) - 1] ?? Number.NaN)
  console.log(
    `1+1 under three bombs: p50 ${p50?.toFixed(1)} ms, p99 ${p99?.toFixed(1)} ms, worst ${worst?.toFixed(1)} ms`,
  )
  for (const { status } of await Promise.all(kernels.map((id) => api.info(id)))) assert.equal(status, 'busy')
  const start = performance.now()
  await Promise.all(kernels.map((id) => api.destroy(id)))
  const destroyMs = performance.now() - start
  console.log(`all three destroyed in ${destroyMs.toFixed(0)} ms`)
  for (const { reason } of await Promise.all(running)) assert.equal(reason, 'user-requested')
  assert.ok(destroyMs < 2000, `${destroyMs} ms`)
  assert.ok(Number(worst) < WORST_MS, `worst ${worst} ms`)
})

test('all sessions together cannot take more memory than the server allows', async () => {
  const total = await openArena([], { environment: { COB_TOTAL_MEMORY_KB: '300000' } })
  try {
    const { api, neighbour } = total.target
    const kernels = await Promise.all(
      [1, 2, 3, 4].map(() => api.create({ resourceLimits: { maxMem: 200_000 } })),
    )
    const take = "kept = b'x' * (120 << 20)\nlen(kept)"
    await Promise.all(kernels.map((id) => api.run(id, take)))
    // One may be killed after its code has finished, for what another takes.
    const reasons = async () => {
      const infos = kernels.map((id) => api.call<{ reason?: string }>('GET', `/v1/kernel/${id}`))
      return (await Promise.all(infos)).flatMap(({ body }) => body.reason ?? [])
    }
    await until(async () => (await reasons()).length >= 2)
    const ended = await reasons()
    assert.ok(ended.length < 4 && ended.every((reason) => reason === 'out-of-memory'), ended.join(' '))
    assert.equal((await api.run(neighbour, 'secret')).value?.['text/plain'], "'of the neighbour'")
  } finally {
    await total.close()
  }
})
