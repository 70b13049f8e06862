import assert from 'node:assert/strict'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { after, describe, test } from 'node:test'
import { type ApiClient, createApiClient } from '../support/api-client.ts'
import { makeOrdinaryUser, type OrdinaryUser } from '../support/ordinary-user.ts'
import { until } from '../support/until.ts'

const UNLIMITED = { COB_ALLOW_UNENFORCED_LIMITS: '1' }

const run = async (
  user: OrdinaryUser,
  args: string[],
  environment?: Record<string, string>,
): Promise<{ status: number; stdout: string; stderr: string }> => {
  const child = user.spawn(args, environment)
  const exited = once(child, 'exit')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await exited
  return { status, stdout, stderr }
}

/** `cob serve` as the user, until `end`. */
const serve = async (
  user: OrdinaryUser,
  environment?: Record<string, string>,
): Promise<{ api: ApiClient; end(signal: NodeJS.Signals): Promise<unknown[]> }> => {
  const child = user.spawn(['serve'], environment)
  const exited = once(child, 'exit')
  let output = ''
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    output += chunk
    if (output.includes('6 * 7')) break
  }
  const url = /listens on +(\S+)/.exec(output)?.[1] ?? ''
  return {
    api: createApiClient(url, /Key +(\S+)/.exec(output)?.[1] ?? ''),
    end(signal) {
      child.kill(signal)
      return exited
    },
  }
}

describe('an ordinary user with delegated cgroups', () => {
  const user = makeOrdinaryUser({ delegated: true })
  after(() => user.remove())

  test('cob doctor finds everything held', async () => {
    const { status, stdout, stderr } = await run(user, ['doctor', '--json'])
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { ok: boolean; name: string }[] }
    assert.deepEqual(
      checks.filter((check) => !check.ok),
      [],
      stderr,
    )
    assert.equal(ok, true)
    assert.equal(status, 0)
    assert.ok(checks.length > 20)
  })

  test('serves, says that sessions share its uid, and its limits hold', async () => {
    const { api, end } = await serve(user)
    try {
      const id = await api.create({ resourceLimits: { maxMem: 65_536 } })
      const { user: who, memory, processes, cpu, unenforced, systemCalls } = (await api.info(id)).isolation
      assert.equal(who, 'server-uid')
      assert.deepEqual(unenforced, [])
      assert.equal(systemCalls, 'allow-list')
      for (const each of [memory, processes, cpu]) assert.match(each, /^cgroup v[12]$/)
      const bomb = await api.run(
        id,
        'print("before", flush=True)\nkept = []\nwhile True: kept.append(b"x" * 1_000_000)',
      )
      assert.deepEqual([bomb.reason, bomb.stdout], ['out-of-memory', 'before\n'])
      const other = await api.create()
      const forks = await api.run(
        other,
        'import os\nn = 0\ntry:\n    while os.fork(): n += 1\n    os._exit(0)\nexcept OSError: pass\nn',
      )
      assert.ok(Number(forks.value?.['text/plain']) < 130)
      await api.destroy(other)
    } finally {
      assert.deepEqual(await end('SIGTERM'), [0, null])
    }
  })

  test('has the sessions of a killed server', async () => {
    const killed = await serve(user)
    const id = await killed.api.create()
    await killed.api.run(id, 'x = 41')
    await killed.end('SIGKILL')
    const { api, end } = await serve(user)
    try {
      assert.equal((await api.run(id, 'x + 1')).value?.['text/plain'], '42')
    } finally {
      assert.deepEqual(await end('SIGTERM'), [0, null])
    }
  })
})

describe('an ordinary user without cgroups', () => {
  const user = makeOrdinaryUser({ delegated: false })
  after(() => user.remove())

  test('is refused, with every limit that would not hold and what to do', async () => {
    const { status, stderr } = await run(user, ['serve'])
    assert.equal(status, 1)
    for (const limit of ['memory', 'processes', 'cpu']) assert.match(stderr, new RegExp(`${limit} limit: .`))
    assert.match(stderr, /Delegate=yes/)
    assert.match(stderr, /COB_ALLOW_UNENFORCED_LIMITS=1/)
  })

  test('cob doctor tells the same and goes on to what does hold', async () => {
    const { status, stdout } = await run(user, ['doctor'])
    assert.equal(status, 1)
    assert.match(stdout, /HOLE {2}memory limit/)
    assert.match(stdout, /-> .*Delegate=yes/)
    assert.match(stdout, /ok {4}forbidden calls/)
    assert.doesNotMatch(stdout, /memory bomb/)
  })

  test('may serve all the same when told to, and each kernel says what is not held', async () => {
    const { api, end } = await serve(user, UNLIMITED)
    try {
      const { isolation } = await api.info(await api.create())
      assert.deepEqual(isolation.unenforced, ['memory', 'processes', 'cpu'])
    } finally {
      assert.deepEqual(await end('SIGTERM'), [0, null])
    }
  })

  test('loses the sessions of a killed server, of which nothing is left', async () => {
    // Without sandboxes that are being made at that moment; see decision 2.
    const killed = await serve(user, { ...UNLIMITED, COB_MAX_WARM: '0' })
    const id = await killed.api.create()
    const { stdout } = await killed.api.run(id, 'import os; print(os.getppid())')
    assert.equal(stdout, '1\n')
    const before = user.processes()
    assert.ok(before > 0)
    await killed.end('SIGKILL')
    const { api, end } = await serve(user, { ...UNLIMITED, COB_MAX_WARM: '0' })
    try {
      assert.equal((await api.call('GET', `/v1/kernel/${id}`)).status, 404)
      // The server alone.
      await until(() => user.processes() === 1)
    } finally {
      assert.deepEqual(await end('SIGTERM'), [0, null])
    }
  })
})
