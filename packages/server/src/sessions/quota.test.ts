import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { createFakeBackend, type FakeBackend } from '../../../../test/support/fake-backend.ts'
import { createFakeSessions, QUOTA } from '../../../../test/support/fake-sessions.ts'
import { createTemporaryStore } from '../../../../test/support/temporary-store.ts'
import { CobError, type ErrorCode } from '../errors.ts'
import type { Quota } from './quota.ts'
import type { Sessions } from './sessions.ts'

const OWNER = 'AKIDOWNER'
const NOON = 20_000 * 86_400_000 + 43_200_000

let backend: FakeBackend
let sessions: Sessions
let quota: Quota
let drained: number

const code = (expected: ErrorCode) => (error: unknown) => error instanceof CobError && error.code === expected
const create = async (resourceLimits: object = {}, token?: string): Promise<string> =>
  (
    await sessions.create(OWNER, {
      lang: 'fake',
      resourceLimits,
      ...(token === undefined ? {} : { clientSessionToken: token }),
    })
  ).kernelId
const run = (id: string, text: string) => sessions.run(OWNER, id, { code: text }, {})

beforeEach(() => {
  backend = createFakeBackend()
  quota = QUOTA
  drained = 0
  sessions = createFakeSessions(backend, {
    quotaOf: () => quota,
    ledger: createTemporaryStore(),
    now: () => NOON,
    onDrained: () => {
      drained++
    },
  })
})
afterEach(() => sessions.close())

test('memory of a key is what its kernels may use together, also of those that are asked for at once', async () => {
  quota = { ...QUOTA, maxMemoryKb: 100_000 }
  const many = await Promise.allSettled(Array.from({ length: 9 }, () => create({ maxMem: 30_000 })))
  const made = many.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  assert.equal(made.length, 3)
  for (const one of many) if (one.status === 'rejected') assert.ok(code('quota-exceeded')(one.reason))
  assert.deepEqual(sessions.inUse(OWNER), { kernels: 3, memoryKb: 90_000, cpuMsToday: 0 })
  await assert.rejects(
    create({ maxMem: 10_001 }),
    /kernels of 90000 KB together and may have 100000 KB; this one needs 10001/,
  )
  await create({ maxMem: 10_000 })
  await sessions.destroy(OWNER, made[0] ?? '')
  await create({ maxMem: 30_000 })
})

test('a kernel that is there already costs nothing of a quota that is used up', async () => {
  quota = { ...QUOTA, maxKernels: 1 }
  const id = await create({}, 'token')
  await assert.rejects(create(), code('quota-exceeded'))
  quota = { ...QUOTA, maxKernels: 1, maxMemoryKb: 1, langs: [] }
  assert.equal(await create({}, 'token'), id)
})

test('a kernel that did not start gives back what it was to have', async () => {
  quota = { ...QUOTA, maxKernels: 1 }
  backend.failNext = new Error('no bubblewrap')
  await assert.rejects(create(), code('kernel-start-failed'))
  await create()
})

test('when the CPU time of a day is used up nothing new starts, what goes on ends, and what rests stays', async () => {
  quota = { ...QUOTA, maxCpuMsPerDay: 1000 }
  const [resting, burning] = [await create(), await create()]
  await run(resting, 'set x')
  const [, sandbox] = [...backend.live.values()]
  assert.ok(sandbox)
  const hanging = run(burning, 'hang')
  sandbox.usage.cpuMs = 5000
  while (sessions.inUse(OWNER).cpuMsToday < 1000) await new Promise((resolve) => setTimeout(resolve, 5))
  sandbox.usage.cpuMs = 5300
  const result = await hanging
  assert.deepEqual([result.status, result.reason], ['terminated', 'cpu-credit-exhausted'])
  await assert.rejects(create(), (error: unknown) => {
    assert.ok(error instanceof CobError && error.code === 'quota-exceeded')
    assert.match(error.message, /has used \d+ ms of CPU time today and may use 1000 ms a day/)
    assert.equal(error.retryAfterS, 43_200)
    return true
  })
  await assert.rejects(run(resting, 'get x'), code('quota-exceeded'))
  assert.equal((await sessions.info(OWNER, resting)).status, 'idle')
  quota = { ...QUOTA, maxCpuMsPerDay: 100_000 }
  assert.equal((await run(resting, 'get x')).stdout, 'true\n', 'it is as it was')
})

test('a drain that is to stop the server is done when the last session has gone, and only once', async () => {
  const id = await create()
  sessions.drain.begin(true)
  await assert.rejects(create(), code('draining'))
  assert.equal(drained, 0)
  await sessions.destroy(OWNER, id)
  assert.equal(drained, 1)
  sessions.drain.begin(true)
  assert.equal(drained, 1)
})

test('a drain that was undone stops nothing', async () => {
  const id = await create()
  sessions.drain.begin(true)
  sessions.drain.undo()
  await sessions.destroy(OWNER, id)
  await create()
  assert.equal(drained, 0)
})
