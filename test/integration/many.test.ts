import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { startServer } from '../support/server.ts'

const SESSIONS = 200

/** What a session occupies on the host, counted from outside. */
function footprint(dataDir: string): Record<string, number> {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const commands = processes.map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    } catch {
      return ''
    }
  })
  return {
    sandboxProcesses: commands.filter((command) => command.includes('bwrap') || command.includes('/opt/cob/'))
      .length,
    cgroups: countCgroups('/sys/fs/cgroup'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    runEntries: readdirSync(`${dataDir}/run`).length,
    descriptors: readdirSync('/proc/self/fd').length,
  }
}

function countCgroups(dir: string): number {
  const children = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return children.reduce((sum, { name }) => sum + 1 + countCgroups(`${dir}/${name}`), 0)
}

test(`${SESSIONS} sessions at once are created, used and destroyed, and nothing of them is left`, async () => {
  const server = await startServer()
  try {
    const warm = await server.create()
    await server.call('DELETE', `/v1/kernel/${warm}`)
    const before = footprint(server.dataDir)

    const ids = await Promise.all(Array.from({ length: SESSIONS }, () => server.create()))
    assert.equal(new Set(ids).size, SESSIONS)
    const results = await Promise.all(ids.map((id, i) => server.run(id, `x = ${i}\nx * 2`)))
    results.forEach((result, i) => {
      assert.equal(result.value?.['text/plain'], String(i * 2))
    })
    const { body } = await server.call<{ kernels: unknown[] }>('GET', '/v1/kernels')
    assert.equal(body.kernels.length, SESSIONS)
    const again = await Promise.all(ids.map((id) => server.run(id, 'x')))
    again.forEach((result, i) => {
      assert.equal(result.value?.['text/plain'], String(i))
    })
    const destroyed = await Promise.all(ids.map((id) => server.call('DELETE', `/v1/kernel/${id}`)))
    assert.ok(destroyed.every(({ status }) => status === 204))

    const after = footprint(server.dataDir)
    // Client connections are kept alive by fetch on both ends of this process; they are not the sessions'.
    const { descriptors: openBefore, ...leftBefore } = before
    const { descriptors: openAfter, ...leftAfter } = after
    assert.deepEqual(leftAfter, leftBefore)
    assert.ok(
      (openAfter ?? 0) - (openBefore ?? 0) <= 2 * SESSIONS + 50,
      `descriptors ${openBefore} -> ${openAfter}`,
    )
  } finally {
    await server.close()
  }
})
