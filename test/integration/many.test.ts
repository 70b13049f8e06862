import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { type Footprint, footprint } from '../support/footprint.ts'
import { startServerProcess } from '../support/server-process.ts'
import { until } from '../support/until.ts'

/** Fewer where there is less memory, as in a virtual machine. */
const SESSIONS = Number(process.env.TEST_SESSIONS ?? 200)
/** What is kept ready for sessions to come would be counted as theirs. */
const NONE_WARM = { COB_MAX_WARM: '0' }
const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-many-'))
after(() => rmSync(dataDir, { recursive: true, force: true }))

/** As it is now, but for descriptors, once their number stays the same: the server has a file open while it reads it. */
async function settledFootprint(pid: number): Promise<Footprint> {
  const now = footprint(dataDir, pid)
  for (let { descriptors } = now; ; ) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    const next = footprint(dataDir, pid).descriptors
    if (next === descriptors) return { ...now, descriptors }
    descriptors = next
  }
}

test(`${SESSIONS} sessions at once are created, used and destroyed, and nothing of them is left`, async () => {
  const server = await startServerProcess(dataDir, NONE_WARM)
  const api = createApiClient(server.url, server.key)
  try {
    await api.destroy(await api.create())
    const before = await settledFootprint(server.pid)
    assert.equal(before.processes, 0)

    const ids = await Promise.all(Array.from({ length: SESSIONS }, () => api.create()))
    assert.equal(new Set(ids).size, SESSIONS)
    const results = await Promise.all(ids.map((id, i) => api.run(id, `x = ${i}\nx * 2`)))
    results.forEach((result, i) => {
      assert.equal(result.value?.['text/plain'], String(i * 2))
    })
    const { body } = await api.call<{ kernels: unknown[] }>('GET', '/v1/kernels')
    assert.equal(body.kernels.length, SESSIONS)
    const again = await Promise.all(ids.map((id) => api.run(id, 'x')))
    again.forEach((result, i) => {
      assert.equal(result.value?.['text/plain'], String(i))
    })
    assert.ok(footprint(dataDir, server.pid).processes >= 2 * SESSIONS)
    await Promise.all(ids.map((id) => api.destroy(id)))
    assert.deepEqual(await settledFootprint(server.pid), before)
  } finally {
    assert.equal(await server.end('SIGTERM'), 0)
  }
})

test('SIGTERM answers what runs with the reason, leaves nothing and ends with status 0', async () => {
  const server = await startServerProcess(dataDir)
  const api = createApiClient(server.url, server.key)
  const id = await api.create()
  const running = api.run(id, 'print("on", flush=True)\nimport time; time.sleep(1000)')
  await until(async () => (await api.info(id)).status === 'busy')
  assert.equal(await server.end('SIGTERM'), 0)
  const { status, reason } = await running
  assert.deepEqual([status, reason], ['terminated', 'server-shutdown'])
})

test('sessions of a killed server go on with the next one, what else it left is removed, and a second server on the folder is refused', async () => {
  const killed = await startServerProcess(dataDir)
  const api = createApiClient(killed.url, killed.key)
  const ids = await Promise.all([api.create(), api.create()])
  await assert.rejects(startServerProcess(dataDir), /Another server uses the data folder/)
  assert.ok(footprint(dataDir, killed.pid).processes >= 4)
  await killed.end('SIGKILL')

  const next = await startServerProcess(dataDir, NONE_WARM)
  try {
    assert.equal(next.key, killed.key)
    const after = createApiClient(next.url, next.key)
    for (const id of ids) assert.equal((await after.run(id, '1+1')).value?.['text/plain'], '2')
    assert.equal(footprint(dataDir, next.pid).runEntries, ids.length)
    for (const id of ids) await after.destroy(id)
    const { processes, cgroups, runEntries } = footprint(dataDir, next.pid)
    assert.deepEqual({ processes, cgroups, runEntries }, { processes: 0, cgroups: 0, runEntries: 0 })
    assert.equal((await after.run(await after.create(), '1+1')).value?.['text/plain'], '2')
  } finally {
    assert.equal(await next.end('SIGINT'), 0)
  }
})
