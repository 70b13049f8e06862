import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { footprint } from '../support/footprint.ts'
import { startServerProcess } from '../support/server-process.ts'
import { warmSettled } from '../support/warm.ts'

const CYCLES = 500
const AT_ONCE = 4
/** Left running when the session is destroyed: one kind after the other. */
const LEFT_BEHIND = [
  '',
  'import subprocess; subprocess.Popen(["sleep", "1000"], start_new_session=True)',
  'import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()',
  'import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass',
]
const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-cycles-'))
after(() => rmSync(dataDir, { recursive: true, force: true }))

test(`${CYCLES} sessions created, used and destroyed leave no process, mount, cgroup, folder or descriptor`, async () => {
  // So that as many are kept ready in the end as in the beginning.
  const server = await startServerProcess(dataDir, { COB_MAX_WARM: '4' })
  const api = createApiClient(server.url, server.key)
  try {
    await api.destroy(await api.create())
    await warmSettled(server.url)
    const before = footprint(dataDir, server.pid)
    let started = 0
    const work = async (): Promise<void> => {
      for (let i = started++; i < CYCLES; i = started++) {
        const id = await api.create({ resourceLimits: { maxMem: 65_536 } })
        const code = LEFT_BEHIND[i % LEFT_BEHIND.length]
        if (code) await api.run(id, code)
        await api.destroy(id)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    await warmSettled(server.url)
    assert.deepEqual(footprint(dataDir, server.pid), before)
  } finally {
    assert.equal(await server.end('SIGTERM'), 0)
  }
})
