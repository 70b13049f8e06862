import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import type { RunResult } from '@cob/protocol'
import { pino } from 'pino'
import { createFakeBackend, type FakeBackend } from '../../../../test/support/fake-backend.ts'
import { createFakeSessions } from '../../../../test/support/fake-sessions.ts'
import { CobError, type ErrorCode } from '../errors.ts'
import type { Sessions } from './sessions.ts'

const OWNER = 'AKIDOWNER'

let backend: FakeBackend
let sessions: Sessions

const code = (expected: ErrorCode) => (error: unknown) => error instanceof CobError && error.code === expected
const create = async (request: Parameters<Sessions['create']>[1] = { lang: 'fake' }): Promise<string> =>
  (await sessions.create(OWNER, request)).kernelId
const run = (
  id: string,
  text: string,
  options: { codeId?: string; waitMs?: number } = {},
): Promise<RunResult> =>
  sessions.run(
    OWNER,
    id,
    { code: text, ...(options.codeId === undefined ? {} : { codeId: options.codeId }) },
    { waitMs: options.waitMs },
  )

/** Waits until the session has ended and returns its problem document's reason. */
async function reasonOfEnd(id: string): Promise<unknown> {
  for (let tries = 0; tries < 2000; tries++) {
    try {
      await sessions.info(OWNER, id)
    } catch (error) {
      return error instanceof CobError ? error.extra.reason : error
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return 'still alive'
}

beforeEach(() => {
  backend = createFakeBackend()
  sessions = createFakeSessions(backend)
})
afterEach(async () => {
  await sessions.close()
  assert.equal(backend.live.size, 0, 'sandboxes left after close')
})

test('a created kernel runs code and keeps its variables', async () => {
  const id = await create()
  assert.match(id, /^[A-Za-z0-9_-]{22}$/)
  await run(id, 'set x')
  const result = await run(id, 'get x\nvalue 42')
  assert.equal(result.status, 'finished')
  assert.equal(result.stdout, 'true\n')
  assert.deepEqual(result.value, { 'text/plain': '42' })
  assert.equal(result.executionCount, 2)
  assert.equal((await sessions.info(OWNER, id)).numQueriesExecuted, 2)
})

test('the same token gives the same kernel, also to concurrent requests', async () => {
  const request = { lang: 'fake', clientSessionToken: 'EXAMPLE:STRING' }
  const answers = await Promise.all(Array.from({ length: 8 }, () => sessions.create(OWNER, request)))
  assert.equal(new Set(answers.map(({ kernelId }) => kernelId)).size, 1)
  assert.equal(answers.filter(({ created }) => created).length, 1)
  assert.equal(backend.live.size, 1)
  assert.equal((await sessions.create(OWNER, { ...request, lang: 'f' })).created, false)
  await assert.rejects(sessions.create(OWNER, { ...request, lang: 'other' }), code('token-in-use'))
  assert.equal((await sessions.create('AKIDELSE', request)).created, true)
})

test('a failed start tells so, leaves nothing and frees the token', async () => {
  backend.failNext = new Error('no bubblewrap')
  const request = { lang: 'fake', clientSessionToken: 'token' }
  const both = await Promise.allSettled([sessions.create(OWNER, request), sessions.create(OWNER, request)])
  for (const one of both) assert.ok(one.status === 'rejected' && code('kernel-start-failed')(one.reason))
  assert.equal(backend.live.size, 0)
  assert.equal((await sessions.create(OWNER, request)).created, true)
})

test('unknown and missing kernel types, limits too high or too low are refused', async () => {
  await assert.rejects(sessions.create(OWNER, { lang: 'pyton' }), code('unknown-lang'))
  await assert.rejects(sessions.create(OWNER, { lang: 'absent' }), code('lang-unavailable'))
  const withLimits = (resourceLimits: object) => sessions.create(OWNER, { lang: 'fake', resourceLimits })
  await assert.rejects(withLimits({ maxMem: 100_001 }), code('limits-exceeded'))
  await assert.rejects(withLimits({ timeout: 100_001 }), code('limits-exceeded'))
  await assert.rejects(withLimits({ maxMem: 999 }), code('limit-too-low'))
  assert.equal(backend.live.size, 0)
  await withLimits({ maxMem: 0, timeout: 0 })
})

test('capacity and quota are counted, also under concurrent creates', async () => {
  const many = await Promise.allSettled(
    Array.from({ length: 15 }, () => sessions.create(OWNER, { lang: 'fake' })),
  )
  assert.equal(many.filter(({ status }) => status === 'fulfilled').length, 10)
  for (const one of many) if (one.status === 'rejected') assert.ok(code('quota-exceeded')(one.reason))
  for (let i = 0; i < 10; i++) await sessions.create(`AKID${i}`, { lang: 'fake' })
  await assert.rejects(
    sessions.create('AKIDLAST', { lang: 'fake' }),
    (error) => code('no-capacity')(error) && (error as CobError).retryAfterS !== undefined,
  )
})

test("another key's kernel does not exist", async () => {
  const id = await create()
  await assert.rejects(sessions.info('AKIDELSE', id), code('no-such-kernel'))
  await sessions.destroy(OWNER, id)
  await assert.rejects(sessions.info('AKIDELSE', id), code('no-such-kernel'))
  await assert.rejects(sessions.info(OWNER, id), code('kernel-gone'))
})

test('queries run one at a time in order; the seventeenth waiting one is refused', async () => {
  const id = await create()
  const hanging = run(id, 'hang')
  const waiting = Array.from({ length: 16 }, () => run(id, 'print x'))
  await assert.rejects(run(id, 'print too many'), code('queue-full'))
  await sessions.restart(OWNER, id)
  for (const result of await Promise.all([hanging, ...waiting])) {
    assert.deepEqual([result.status, result.reason], ['terminated', 'restarted'])
  }
  const ordered = await Promise.all(['a', 'b', 'c'].map((text) => run(id, `print ${text}`)))
  assert.deepEqual(
    ordered.map(({ stdout }) => stdout),
    ['a\n', 'b\n', 'c\n'],
  )
})

test('what is told of memory and CPU time is as old as a second, also where nothing runs', async () => {
  const id = await create()
  const [sandbox] = backend.live.values()
  assert.ok(sandbox)
  Object.assign(sandbox.usage, { memoryBytes: 7_000 * 1024, cpuMs: 123 })
  await new Promise((resolve) => setTimeout(resolve, 1010))
  const { memoryUsed, cpuCreditUsed } = await sessions.info(OWNER, id)
  assert.deepEqual({ memoryUsed, cpuCreditUsed }, { memoryUsed: 7_000, cpuCreditUsed: 123 })
})

test('a session that is destroyed while it restarts is no fault in the log', async () => {
  const levels: number[] = []
  const logger = pino(
    { level: 'warn' },
    { write: (line: string) => void levels.push(JSON.parse(line).level) },
  )
  const observed = createFakeSessions(backend, { logger })
  const { kernelId } = await observed.create(OWNER, { lang: 'fake' })
  const restarting = assert.rejects(observed.restart(OWNER, kernelId), code('kernel-gone'))
  await Promise.all([restarting, observed.destroy(OWNER, kernelId)])
  assert.deepEqual(levels, [])
  await observed.close()
})

test('a restart loses variables, resets idle, keeps id, age and query count', async () => {
  const id = await create()
  await run(id, 'set x')
  const before = await sessions.info(OWNER, id)
  await Promise.all([sessions.restart(OWNER, id), sessions.restart(OWNER, id)])
  assert.equal((await run(id, 'get x')).stdout, 'false\n')
  const after = await sessions.info(OWNER, id)
  assert.equal(after.numQueriesExecuted, 2)
  assert.ok(after.age >= before.age)
})

test('input is asked for and supplied by the next post', async () => {
  const id = await create()
  const asked = await run(id, 'print before\nask name?')
  assert.equal(asked.status, 'waiting-input')
  assert.deepEqual(asked.options, { prompt: 'name?', isPassword: false })
  assert.equal(asked.stdout, 'before\n')
  assert.equal((await sessions.info(OWNER, id)).status, 'waiting-input')
  const answered = await run(id, 'Ann')
  assert.equal(answered.status, 'finished')
  assert.equal(answered.stdout, 'Ann\n')
  assert.equal(answered.executionId, asked.executionId)
  assert.equal((await sessions.info(OWNER, id)).numQueriesExecuted, 1)
})

test('an empty line is an answer too, once the question was seen', async () => {
  const id = await create()
  const first = await run(id, 'ask ?', { codeId: 'c1', waitMs: 0 })
  assert.equal(first.status, 'continued')
  assert.equal((await run(id, '', { codeId: 'c1' })).status, 'waiting-input')
  const answered = await run(id, '', { codeId: 'c1' })
  assert.deepEqual([answered.status, answered.stdout], ['finished', '\n'])
})

test('an answer to a question that the code no longer waits for gives its end, and does not run as code', async () => {
  const id = await create()
  assert.equal((await run(id, 'offer name?\nprint on')).status, 'waiting-input')
  while ((await sessions.info(OWNER, id)).status !== 'idle') await new Promise(setImmediate)
  const late = await run(id, 'print Ann')
  assert.deepEqual([late.status, late.stdout], ['finished', 'on\n'])
  assert.equal((await run(id, 'print next')).stdout, 'next\n')
})

test('after an interrupt the next code is code, not the answer to what was asked before', async () => {
  const id = await create()
  assert.equal((await run(id, 'ask name?')).status, 'waiting-input')
  await sessions.interrupt(OWNER, id)
  const next = await run(id, 'print next')
  assert.deepEqual([next.status, next.stdout], ['finished', 'next\n'])
})

test('a long execution is fetched in parts under its codeId', async () => {
  const id = await create()
  const first = await run(id, 'print a\nhang', { codeId: 'mine', waitMs: 30 })
  assert.deepEqual([first.status, first.stdout], ['continued', 'a\n'])
  await assert.rejects(run(id, 'print b', { codeId: 'mine' }), code('code-id-in-use'))
  const second = await run(id, '', { codeId: first.executionId, waitMs: 0 })
  assert.deepEqual([second.status, second.stdout], ['continued', ''])
  await assert.rejects(run(id, '', { codeId: 'unknown' }), code('no-such-execution'))
})

test('a client that goes away loses nothing: the execution goes on and can be fetched', async () => {
  const id = await create()
  const gone = new AbortController()
  const asked = sessions.run(OWNER, id, { code: 'print kept', codeId: 'mine' }, { signal: gone.signal })
  gone.abort()
  await assert.rejects(asked)
  const fetched = await run(id, '', { codeId: 'mine' })
  assert.deepEqual([fetched.status, fetched.stdout], ['finished', 'kept\n'])
})

test('a query over its time ends the session with its partial output and the reason', async () => {
  const id = await create({ lang: 'fake', resourceLimits: { timeout: 50 } })
  const result = await run(id, 'print partial\nhang')
  assert.deepEqual(
    [result.status, result.reason, result.stdout],
    ['terminated', 'query-timeout', 'partial\n'],
  )
  assert.equal(await reasonOfEnd(id), 'query-timeout')
})

test('time spent waiting for input does not count as query time', async () => {
  const id = await create({ lang: 'fake', resourceLimits: { timeout: 100 } })
  await run(id, 'ask ?')
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.equal((await run(id, 'still here')).stdout, 'still here\n')
})

test('a session without queries ends after its idle timeout', async () => {
  const id = await create({ lang: 'fake', resourceLimits: { idleTimeout: 50 } })
  assert.equal(await reasonOfEnd(id), 'idle-timeout')
})

test('a spent CPU credit ends the session', async () => {
  backend.reportedUsage = { ...backend.reportedUsage, cpuMs: 5000 }
  const id = await create({ lang: 'fake', resourceLimits: { maxCpuCredit: 4000 } })
  assert.equal(await reasonOfEnd(id), 'cpu-credit-exhausted')
})

test('a crash and a kill for memory are told apart', async () => {
  const crashed = await create()
  const first = await run(crashed, 'print last words\ncrash')
  assert.deepEqual([first.status, first.reason, first.stdout], ['terminated', 'crashed', 'last words\n'])
  const killed = await create()
  assert.equal((await run(killed, 'oom')).reason, 'out-of-memory')
  assert.equal(await reasonOfEnd(killed), 'out-of-memory')
})

test('an agent that breaks the protocol ends its own session only', async () => {
  const bad = await create()
  const good = await create()
  assert.equal((await run(bad, 'garbage')).reason, 'crashed')
  assert.equal((await run(good, 'print fine')).stdout, 'fine\n')
})

test('a broken connection is made again and nothing is lost', async () => {
  const id = await create()
  await run(id, 'ask ?')
  for (const { agent } of backend.live.values()) agent.disconnect()
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal((await run(id, 'after')).stdout, 'after\n')
})

test('the last part of an execution can be fetched after its session ended', async () => {
  const id = await create({ lang: 'fake', resourceLimits: { timeout: 100 } })
  await run(id, 'print a\nhang', { codeId: 'mine', waitMs: 20 })
  assert.equal(await reasonOfEnd(id), 'query-timeout')
  const last = await run(id, '', { codeId: 'mine' })
  assert.deepEqual([last.status, last.reason], ['terminated', 'query-timeout'])
  await assert.rejects(run(id, '', { codeId: 'mine' }), code('kernel-gone'))
})

test('closing the server answers what runs with the reason', async () => {
  const id = await create()
  const running = run(id, 'hang')
  await sessions.close()
  assert.deepEqual([(await running).status, (await running).reason], ['terminated', 'server-shutdown'])
  await assert.rejects(sessions.create(OWNER, { lang: 'fake' }), code('shutting-down'))
})

test('whatever comes of executions, nothing counts as held in the end', async () => {
  const sessions = createFakeSessions(createFakeBackend(), { maxHeldCharacters: 1_000_000 })
  const large = `print ${'x'.repeat(30_000)}`
  for (let i = 0; i < 40; i++) {
    const { kernelId } = await sessions.create(OWNER, {
      lang: 'fake',
      environ: { LARGE: 'x'.repeat(20_000) },
    })
    const gone = new AbortController()
    const start = (
      options: { waitMs?: number; signal?: AbortSignal; sent?: Promise<void> },
      codeId?: string,
    ) => {
      const request = { code: i % 5 === 0 ? large : 'hang', ...(codeId === undefined ? {} : { codeId }) }
      return sessions.run(OWNER, kernelId, request, options).catch(() => undefined)
    }
    const runs = [
      start({ waitMs: 0 }, 'first'),
      start({ signal: gone.signal, sent: Promise.resolve() }),
      start({}),
    ]
    if (i % 2 === 0)
      await sessions.run(OWNER, kernelId, { code: large, codeId: 'unfetched' }, { waitMs: 0 }).catch(() => {})
    if (i % 5 === 0) await Promise.all(runs)
    gone.abort()
    if (i % 3 === 0) await sessions.restart(OWNER, kernelId)
    if (i % 4 === 0)
      await sessions.run(OWNER, kernelId, { code: '', codeId: 'unfetched' }, { waitMs: 0 }).catch(() => {})
    await sessions.destroy(OWNER, kernelId)
    for (const codeId of ['first', 'unfetched'])
      await sessions.run(OWNER, kernelId, { code: '', codeId }, {}).catch(() => {})
    await Promise.all(runs)
  }
  const { kernelId } = await sessions.create(OWNER, { lang: 'fake' })
  const code = `print ${'x'.repeat(490_000)}`
  assert.equal((await sessions.run(OWNER, kernelId, { code }, {})).truncated, true)
  assert.equal((await sessions.run(OWNER, kernelId, { code }, {})).status, 'finished')
  await sessions.close()
})
