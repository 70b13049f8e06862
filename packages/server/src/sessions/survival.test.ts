import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import type { RunResult } from '@cob/protocol'
import {
  createFakeBackend,
  type FakeBackend,
  type FakeSandbox,
} from '../../../../test/support/fake-backend.ts'
import { createFakeSessions } from '../../../../test/support/fake-sessions.ts'
import { createTemporaryStore } from '../../../../test/support/temporary-store.ts'
import { CobError, type ErrorCode } from '../errors.ts'
import type { SessionStore } from '../store/session-store.ts'
import type { Store } from '../store/store.ts'
import type { SessionsOptions, SessionsOwner } from './manager.ts'

const OWNER = 'AKIDOWNER'

let machine: Map<string, FakeSandbox>
let store: SessionStore
let ledger: Store
let backend: FakeBackend
let sessions: SessionsOwner
let isWritable: boolean

/** What a server that was killed still does in this process reaches no store. */
function revocable(): {
  store: SessionStore
  ledger: Pick<Store, 'addUsage' | 'sumCpuMs'>
  revoke(): void
} {
  let isRevoked = false
  const revoke = (): void => {
    isRevoked = true
  }
  const check = (): void => {
    if (!isWritable) throw CobError.of('not-recorded', { problem: 'disk full' })
  }
  const wrapped = Object.fromEntries(
    Object.entries(store).map(([name, method]) => [
      name,
      (...args: unknown[]) => {
        if (isRevoked) return []
        if (/^(add|put)/.test(name)) check()
        return Reflect.apply(method, store, args)
      },
    ]),
  )
  // It has the methods of the store, and no others.
  return {
    store: wrapped as unknown as SessionStore,
    ledger: {
      addUsage: (record) => (isRevoked ? undefined : ledger.addUsage(record)),
      sumCpuMs: ledger.sumCpuMs,
    },
    revoke,
  }
}

let revoke: () => void
async function open(overrides: Partial<SessionsOptions> = {}): Promise<void> {
  const own = revocable()
  revoke = own.revoke
  backend = createFakeBackend(machine)
  sessions = createFakeSessions(backend, { store: own.store, ledger: own.ledger, ...overrides })
  await sessions.adopt()
}
/** As SIGKILL and a start. */
async function killAndStart(overrides: Partial<SessionsOptions> = {}): Promise<void> {
  revoke()
  backend.crash()
  await open(overrides)
}
beforeEach(async () => {
  machine = new Map()
  ledger = createTemporaryStore()
  store = ledger.sessions
  isWritable = true
  await open()
})

const code = (expected: ErrorCode) => (error: unknown) => error instanceof CobError && error.code === expected
const create = async (request: Parameters<SessionsOwner['create']>[1] = { lang: 'fake' }): Promise<string> =>
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
async function reasonOf(id: string): Promise<unknown> {
  try {
    await sessions.info(OWNER, id)
    return 'alive'
  } catch (error) {
    return error instanceof CobError ? (error.extra.reason ?? error.code) : error
  }
}
const agents = () => [...machine.values()].map(({ agent }) => agent)
/** All events that can be read now, those after number `after`. */
function read(
  id: string,
  executionId: string,
  after?: number,
): { id: number; json: Record<string, unknown> }[] {
  const reader = sessions.events(OWNER, id, executionId, after).open(() => {})
  const entries = reader.take(1_000_000).map((entry) => ({ id: entry.id, json: JSON.parse(entry.toJson()) }))
  reader.close()
  return entries
}
const turns = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate)
}

test('variables, the token, limits, the count and the age of a session survive the server, twice', async () => {
  const request = { lang: 'fake', clientSessionToken: 'my token', resourceLimits: { maxMem: 60_000 } }
  const id = await create(request)
  await run(id, 'set x')
  const before = await sessions.info(OWNER, id)
  for (const count of [2, 3]) {
    await killAndStart()
    assert.equal((await run(id, 'get x')).stdout, 'true\n')
    const info = await sessions.info(OWNER, id)
    assert.ok(info.age >= before.age)
    assert.deepEqual(
      { ...info, age: 0, idle: 0, numQueriesExecuted: 0 },
      { ...before, age: 0, idle: 0, numQueriesExecuted: 0 },
    )
    assert.equal(info.numQueriesExecuted, count)
  }
  assert.deepEqual(await sessions.create(OWNER, request), { kernelId: id, created: false })
  await assert.rejects(sessions.info('AKIDELSE', id), code('no-such-kernel'))
})

test('code that runs goes on; its events have the same numbers, each once', async () => {
  const id = await create()
  const { executionId } = await run(id, 'print 1\nprint 2\nask ?\nprint 4\nhang')
  const before = read(id, executionId)
  assert.deepEqual(
    before.map((entry) => entry.json.type),
    ['started', 'stream', 'stream', 'input-request'],
  )
  await killAndStart()
  assert.equal((await sessions.info(OWNER, id)).status, 'waiting-input')
  assert.deepEqual(read(id, executionId), before)
  sessions.input(OWNER, id, 'three')
  await turns()
  const after = read(id, executionId, 4)
  assert.deepEqual(
    after.map((entry) => [entry.id, entry.json.text]),
    [
      [5, 'three\n'],
      [6, '4\n'],
    ],
  )
  await killAndStart()
  assert.deepEqual(read(id, executionId), [...before, ...after])
  assert.equal((await sessions.info(OWNER, id)).status, 'busy')
})

test('what the agent does not keep any more is told as gone, and what follows has the right numbers', async () => {
  const id = await create()
  const { executionId } = await run(
    id,
    `${'print x\n'.repeat(700)}print ${'y'.repeat(70_000)}\nprint z\nhang`,
    {
      waitMs: 500,
    },
  )
  const before = read(id, executionId)
  assert.equal(before.length, 703)
  for (const agent of agents()) agent.forget()
  await killAndStart()
  assert.throws(() => read(id, executionId, 3), code('events-gone'))
  const kept = read(id, executionId)
  assert.ok(kept.length > 0 && kept.length < before.length)
  assert.deepEqual(kept, before.slice(-kept.length))
  assert.equal(sessions.execution(OWNER, id, executionId).truncated, true)
})

test('an execution that ended while no server was there has its result, once', async () => {
  const id = await create()
  await run(id, 'print a', { codeId: 'first' })
  const pending = run(id, 'set x\nprint b', { codeId: 'mine' })
  pending.catch(() => {})
  await killAndStart()
  await turns()
  const result = await run(id, '', { codeId: 'mine' })
  assert.deepEqual([result.status, result.stdout, result.executionCount], ['finished', 'b\n', 2])
  assert.equal((await run(id, 'get x')).stdout, 'true\n')
  // Its name is free again, that of one that is not fetched is not.
  await turns()
  await killAndStart()
  assert.equal((await run(id, 'print again', { codeId: 'mine' })).stdout, 'again\n')
})

test('a retry under the same codeId after a crash does not run code twice', async () => {
  const id = await create()
  void run(id, 'print once', { codeId: 'mine' }).catch(() => {})
  await killAndStart()
  await assert.rejects(run(id, 'print once', { codeId: 'mine' }), code('code-id-in-use'))
  assert.equal((await run(id, '', { codeId: 'mine' })).stdout, 'once\n')
})

test('an answer after a crash goes on where the last one ended', async () => {
  const id = await create()
  const first = await run(id, 'print a\nask ?\nprint c', { codeId: 'mine' })
  assert.deepEqual([first.status, first.stdout], ['waiting-input', 'a\n'])
  await killAndStart()
  const rest = await run(id, 'b')
  assert.deepEqual([rest.status, rest.stdout], ['finished', 'b\nc\n'])
})

test('a question that nobody has been told of is asked again after a crash', async () => {
  const id = await create()
  void run(id, 'ask ?', { codeId: 'mine' }).catch(() => {})
  revoke()
  await turns()
  await killAndStart()
  const asked = await run(id, '', { codeId: 'mine' })
  assert.deepEqual([asked.status, asked.options?.prompt], ['waiting-input', '?'])
  assert.equal((await run(id, 'yes', { codeId: 'mine' })).stdout, 'yes\n')
})

test('code that waits runs after a crash, in order, and only once', async () => {
  const id = await create()
  assert.equal((await run(id, 'ask ?', { waitMs: 0 })).status, 'continued')
  for (const word of ['b', 'c']) sessions.follow(OWNER, id, { code: `print ${word}`, codeId: word })
  await sessions.interrupt(OWNER, id, 'c')
  sessions.follow(OWNER, id, { code: 'print d', codeId: 'd' })
  await killAndStart()
  sessions.input(OWNER, id, 'a')
  const results = await Promise.all(['b', 'c', 'd'].map((codeId) => run(id, '', { codeId })))
  assert.deepEqual(
    results.map(({ status, stdout, executionCount }) => [status, stdout, executionCount]),
    [
      ['finished', 'b\n', 2],
      ['interrupted', '', 3],
      ['finished', 'd\n', 4],
    ],
  )
  assert.equal((await sessions.info(OWNER, id)).numQueriesExecuted, 4)
})

test('what a restart ended stays ended', async () => {
  const id = await create()
  const { executionId } = await run(id, 'print a\nhang', { waitMs: 500 })
  sessions.follow(OWNER, id, { code: 'print never', codeId: 'waits' })
  await sessions.restart(OWNER, id)
  const before = read(id, executionId)
  await killAndStart()
  const ids = (entries: readonly { id: number; json: Record<string, unknown> }[]) =>
    entries.map(({ id, json }) => [id, json.type, json.reason])
  assert.deepEqual(ids(read(id, executionId)), ids(before))
  const waited = sessions.execution(OWNER, id, 'waits')
  assert.deepEqual([waited.status, waited.reason], ['terminated', 'restarted'])
  assert.equal((await run(id, 'print works')).stdout, 'works\n')
})

test('an interpreter that died while no server was there ends its session with the reason', async () => {
  for (const [word, reason] of [
    ['oom', 'out-of-memory'],
    ['crash', 'crashed'],
  ] as const) {
    const id = await create()
    void run(id, `print a\n${word}`, { codeId: 'mine' }).catch(() => {})
    revoke()
    backend.crash()
    await turns()
    await open()
    await turns()
    assert.equal(await reasonOf(id), reason)
    const last = await run(id, '', { codeId: 'mine' })
    assert.deepEqual([last.status, last.reason, last.stdout], ['terminated', reason, 'a\n'])
  }
  assert.equal(machine.size, 0)
})

test('a sandbox that ended meanwhile, or of which nothing is left, ends its session with a reason that is remembered', async () => {
  const [ended, lost] = [await create(), await create()]
  const [first, second] = [...machine.values()]
  assert.ok(first && second)
  first.end()
  machine.delete(second.id)
  await killAndStart()
  await turns()
  assert.deepEqual([await reasonOf(ended), await reasonOf(lost)], ['crashed', 'server-shutdown'])
  assert.equal(machine.size, 0)
  await killAndStart()
  assert.deepEqual([await reasonOf(ended), await reasonOf(lost)], ['crashed', 'server-shutdown'])
})

test('what was destroyed stays destroyed, and another boot of the machine ends all', async () => {
  const [destroyed, living] = [await create(), await create()]
  await sessions.destroy(OWNER, destroyed)
  await killAndStart({ bootId: 'another' })
  assert.deepEqual([await reasonOf(destroyed), await reasonOf(living)], ['user-requested', 'server-shutdown'])
})

test('what a session used is written down once, over the crashes of servers, also where nobody could take it over', async () => {
  const [kept, gone, lost] = [await create(), await create(), await create()]
  await run(kept, 'print a')
  await sessions.destroy(OWNER, gone)
  await killAndStart()
  await run(kept, 'print b')
  for (const { usage } of machine.values()) usage.cpuMs = 70
  await sessions.destroy(OWNER, kept)
  await killAndStart({ bootId: 'another boot' })
  const told = ledger.listUsage({ limit: 10 })
  assert.deepEqual(
    told.map(({ kernelId, reason, cpuMs, executions }) => [kernelId, reason, cpuMs, executions]),
    [
      [gone, 'user-requested', 10, 0],
      [kept, 'user-requested', 70, 2],
      [lost, 'server-shutdown', 0, 0],
    ],
  )
})

test('a server that is killed while a session ends has written down what that used', async () => {
  const id = await create()
  await run(id, 'print a')
  // Its figures are read.
  await sessions.info(OWNER, id)
  void sessions.destroy(OWNER, id)
  await killAndStart()
  assert.equal(await reasonOf(id), 'user-requested')
  assert.deepEqual(
    ledger.listUsage({ limit: 10 }).map(({ kernelId, executions, cpuMs }) => [kernelId, executions, cpuMs]),
    [[id, 1, 10]],
  )
})

test('a create that nobody was told of leaves no session', async () => {
  void sessions.create(OWNER, { lang: 'fake' }).catch(() => {})
  await killAndStart()
  assert.deepEqual([await sessions.list(OWNER), store.liveSessions()], [[], []])
})

test('time without a server counts towards the query timeout and the idle timeout', async (t) => {
  const resourceLimits = { timeout: 300, idleTimeout: 300 }
  const [running, idle, asking] = [
    await create({ lang: 'fake', resourceLimits }),
    await create({ lang: 'fake', resourceLimits }),
    await create({ lang: 'fake', resourceLimits: { timeout: 300 } }),
  ]
  await run(running, 'hang', { waitMs: 0 })
  await run(asking, 'ask ?')
  revoke()
  backend.crash()
  const before = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 350))
  await open()
  const ends: unknown[] = []
  while (ends.length < 2) {
    await new Promise(setImmediate)
    ends.splice(
      0,
      2,
      ...[await reasonOf(running), await reasonOf(idle)].filter((reason) => reason !== 'alive'),
    )
    assert.ok(performance.now() - before < 5000, 'they have not ended')
  }
  assert.deepEqual(ends, ['query-timeout', 'idle-timeout'])
  // Time spent waiting for input does not count.
  assert.equal((await run(asking, 'here')).stdout, 'here\n')
  t.diagnostic(`ended after ${(performance.now() - before).toFixed(0)} ms`)
})

test('with sessions left to the next server, waiting requests are told so and the code goes on', async () => {
  const id = await create()
  const waiting = run(id, 'print a\nask ?\nhang', { codeId: 'mine' })
  assert.equal((await waiting).status, 'waiting-input')
  const other = run(id, '', { codeId: 'mine', waitMs: 60_000 })
  const queued = run(id, 'print queued', { codeId: 'queued' })
  const reader = sessions.events(OWNER, id, 'mine', undefined).open(() => {})
  const starting = sessions.create(OWNER, { lang: 'fake' })
  for (const each of [other, queued, starting]) each.catch(() => {})
  await sessions.close({ leave: true })
  await assert.rejects(queued, code('shutting-down'))
  await assert.rejects(starting, code('shutting-down'))
  await assert.rejects(sessions.info(OWNER, id), code('shutting-down'))
  await assert.rejects(run(id, 'print more'), code('shutting-down'))
  assert.equal(reader.state, 'ended')
  reader.close()
  const kept = sessions.release()
  assert.equal(kept.length, 1)
  await backend.close(kept)
  assert.equal(machine.size, 1)
  await open()
  assert.equal((await sessions.info(OWNER, id)).status, 'busy')
  await sessions.close()
  assert.equal(machine.size, 0)
})

test('code, or a session, that cannot be recorded is refused, and nothing of it stays', async () => {
  const id = await create()
  await run(id, 'set x')
  isWritable = false
  await assert.rejects(run(id, 'print lost', { codeId: 'mine' }), code('not-recorded'))
  await assert.rejects(create(), code('not-recorded'))
  isWritable = true
  assert.equal(machine.size, 1)
  assert.equal((await sessions.info(OWNER, id)).numQueriesExecuted, 1)
  assert.equal((await run(id, 'get x', { codeId: 'mine' })).stdout, 'true\n')
  await killAndStart()
  assert.equal((await sessions.info(OWNER, id)).numQueriesExecuted, 2)
})
