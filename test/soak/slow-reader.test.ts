import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { runEvents } from '../support/events.ts'
import { startServerProcess } from '../support/server-process.ts'

const MEGABYTES = 800
const PAUSE_EVERY_BYTES = 1_000_000
const PAUSE_MS = 10
/** From the first half of it, when V8 has taken what it leaves to its collector, to the second. */
const MAX_RISE_KB = 64 * 1024
const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-slow-'))
after(() => rmSync(dataDir, { recursive: true, force: true }))

test(`${MEGABYTES} MB of output pass a slow reader whole, with the server's memory flat`, async () => {
  const server = await startServerProcess(dataDir)
  try {
    const api = createApiClient(server.url, server.key)
    const kernel = await api.create({ resourceLimits: { timeout: 600_000 } })
    const memoryKb = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1])
    await api.run(kernel, '1 + 1')
    const before = memoryKb()
    const code = `
import hashlib, os, base64
digest = hashlib.sha256()
for i in range(${MEGABYTES}):
    text = base64.b64encode(os.urandom(750_000)).decode()
    digest.update(text.encode())
    print(text, end="")
digest.hexdigest()`
    const hash = createHash('sha256')
    let bytes = 0
    let result = ''
    const peaks: [number, number] = [0, 0]
    let lastId = 0
    const startedAt = performance.now()
    const { events } = await runEvents({ url: server.url, key: server.key, kernel }, code)
    for await (const event of events) {
      assert.equal(event.id, ++lastId)
      if (event.type === 'result') result = String(event.data['text/plain'])
      if (event.type !== 'stream') continue
      hash.update(event.text)
      const piecesBefore = Math.floor(bytes / PAUSE_EVERY_BYTES)
      bytes += event.text.length
      const half = bytes <= MEGABYTES * 500_000 ? 0 : 1
      peaks[half] = Math.max(peaks[half], memoryKb())
      if (Math.floor(bytes / PAUSE_EVERY_BYTES) > piecesBefore)
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
    const seconds = (performance.now() - startedAt) / 1000
    console.log(
      `${bytes} bytes in ${seconds.toFixed(1)} s; the server's memory: ${before} KB before, at most ${peaks[0]} KB in the first half, ${peaks[1]} KB in the second`,
    )
    assert.equal(bytes, MEGABYTES * 1_000_000)
    assert.equal(result, `'${hash.digest('hex')}'`)
    assert.ok(peaks[1] - peaks[0] < MAX_RISE_KB)
  } finally {
    assert.equal(await server.end('SIGTERM'), 0)
  }
})
