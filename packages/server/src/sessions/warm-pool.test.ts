import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { createFakeBackend, type FakeBackend } from '../../../../test/support/fake-backend.ts'
import { createFakeSessions, QUOTA } from '../../../../test/support/fake-sessions.ts'
import type { SessionsOptions } from './manager.ts'
import type { Sessions } from './sessions.ts'

const OWNER = 'AKIDOWNER'

let backend: FakeBackend
let sessions: Sessions

const open = async (options: Partial<SessionsOptions>): Promise<void> => {
  backend = createFakeBackend()
  sessions = createFakeSessions(backend, options)
  await sessions.warmUp()
}
const create = async (lang = 'fake'): Promise<string> => (await sessions.create(OWNER, { lang })).kernelId
const run = async (id: string, code: string): Promise<string> =>
  (await sessions.run(OWNER, id, { code }, { waitMs: undefined })).stdout
const readyOf = async (lang: string): Promise<number> =>
  (await sessions.warm()).find((each) => each.lang === lang)?.ready ?? 0
/** Waits until so many of a kernel type are ready. */
async function untilReady(count: number, lang = 'fake'): Promise<void> {
  for (const giveUp = performance.now() + 5000; (await readyOf(lang)) !== count; ) {
    if (performance.now() > giveUp) assert.fail(`${await readyOf(lang)} of ${lang} are ready, not ${count}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

afterEach(async () => {
  await sessions.close()
  assert.equal(backend.live.size, 0, 'sandboxes left after close')
})

test('a session gets a sandbox that was ready, with limits of its own, and another is made behind it', async () => {
  await open({ warm: { fake: 2 }, maxWarm: 4 })
  await untilReady(2)
  const waiting = new Set(backend.live.keys())
  const { kernelId } = await sessions.create(OWNER, { lang: 'fake', resourceLimits: { maxMem: 60_000 } })
  const [taken] = [...backend.live.values()].filter(({ limits }) => limits !== undefined)
  assert.ok(taken && waiting.has(taken.id))
  assert.equal(taken.limits?.memoryBytes, 60_000 * 1024)
  await run(kernelId, 'set x')
  assert.equal(await run(kernelId, 'get x'), 'true\n')
  await untilReady(2)
  assert.equal(backend.live.size, 3)
})

test('each is used once: what one session leaves, the next one does not see', async () => {
  await open({ warm: { fake: 1 }, maxWarm: 1 })
  for (let i = 0; i < 5; i++) {
    const id = await create()
    assert.equal(await run(id, 'get x'), 'false\n')
    await run(id, 'set x')
    await sessions.destroy(OWNER, id)
  }
})

test('sessions created at once get one each, however many are ready', async () => {
  await open({ warm: { fake: 2 }, maxWarm: 4 })
  await untilReady(2)
  const ids = await Promise.all(Array.from({ length: 6 }, () => create()))
  await Promise.all(ids.map((id) => run(id, 'set x')))
  assert.equal(new Set(ids).size, 6)
  assert.equal([...backend.live.values()].filter(({ limits }) => limits !== undefined).length, 6)
})

test('as many are kept of a kernel type as were asked for at once, none of one nobody asked for, and never more than allowed', async () => {
  await open({ warm: {}, maxWarm: 5 })
  assert.equal(backend.live.size, 0)
  await Promise.all([create(), create(), create()])
  await untilReady(3)
  await Promise.all([create('other'), create('other'), create('other')])
  await untilReady(2, 'other')
  assert.equal(await readyOf('fake'), 3)
})

test('none is kept of a kernel type that is to have none, whatever the demand', async () => {
  await open({ warm: { fake: 0 }, maxWarm: 5 })
  await Promise.all([create(), create()])
  await create('other')
  await untilReady(1, 'other')
  assert.equal(await readyOf('fake'), 0)
})

test('one that dies while it waits is replaced, and no session gets it', async () => {
  await open({ warm: { fake: 1 }, maxWarm: 1 })
  await untilReady(1)
  const [dead] = backend.live.values()
  dead?.end()
  await untilReady(0)
  await untilReady(1)
  assert.equal(await run(await create(), 'print alive'), 'alive\n')
  assert.ok(dead && !backend.live.has(dead.id))
})

test('sessions do not depend on it: when none can be made they are made as they come, and it tries again', async () => {
  backend = createFakeBackend()
  sessions = createFakeSessions(backend, { warm: { fake: 1 }, maxWarm: 1 })
  backend.failNext = new Error('no bubblewrap')
  await sessions.warmUp()
  assert.equal(await readyOf('fake'), 0)
  assert.equal(await run(await create(), 'print alive'), 'alive\n')
  await untilReady(1)
})

test('sessions with a network get sandboxes of their own', async () => {
  await open({ warm: { fake: 1 }, maxWarm: 1, quotaOf: () => ({ ...QUOTA, network: 'egress' }) })
  await untilReady(1)
  const [waiting] = backend.live.keys()
  await create()
  assert.ok(waiting && backend.live.get(waiting)?.limits === undefined)
})
