/** Run by `guest.ts` in cgroups that lack something; TEST_MISSING names the limits that cannot be enforced there. */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { startServerProcess } from '../support/server-process.ts'

const MISSING = process.env.TEST_MISSING?.split(' ') ?? []
const LIMITS = ['memory', 'processes', 'cpu'] as const
const makeDataDir = (): string => mkdtempSync(path.join(tmpdir(), 'cob-refused-'))

test(`a start is refused for ${MISSING.join(', ')}, and says what to do`, async () => {
  const refusal = await startServerProcess(makeDataDir()).then(
    async (server) => {
      await server.end('SIGTERM')
      return 'it started'
    },
    (error: Error) => error.message,
  )
  assert.match(refusal, /cannot enforce these limits/)
  const named = [...refusal.matchAll(/^ {2}(memory|processes|cpu) limit: (.+)$/gm)]
  assert.deepEqual(
    named.map(([, limit]) => limit),
    MISSING,
  )
  // The cgroup is named, so that its owner can be asked.
  for (const [, , reason] of named) assert.match(String(reason), /\/sys\/fs\/cgroup\/stage-\d+\.slice/)
  assert.match(refusal, /Delegate=yes/)
  assert.match(refusal, /COB_ALLOW_UNENFORCED_LIMITS=1/)
})

test('when told to, it starts all the same, and each session names what does not hold', async () => {
  const server = await startServerProcess(makeDataDir(), { COB_ALLOW_UNENFORCED_LIMITS: '1' })
  const api = createApiClient(server.url, server.key)
  try {
    const id = await api.create()
    const { isolation } = await api.info(id)
    assert.deepEqual(isolation.unenforced, MISSING)
    for (const limit of LIMITS) {
      assert.equal(isolation[limit], MISSING.includes(limit) ? 'not enforced' : 'cgroup v2', limit)
    }
    assert.equal((await api.run(id, '6 * 7')).value?.['text/plain'], '42')
    await api.destroy(id)
  } finally {
    assert.equal(await server.end('SIGTERM'), 0)
  }
})
