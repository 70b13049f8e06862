import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { startServerProcess } from '../support/server-process.ts'

const BLOCK = randomBytes(1_000_000)
const BLOCKS = 1000
const MAX_SERVER_GROWTH_KB = 256 * 1024
const MAX_AGENT_KB = 40 * 1024
const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-large-'))
after(() => rmSync(dataDir, { recursive: true, force: true }))

test('a file of 1 GB goes in and out without 1 GB of memory anywhere', async () => {
  const server = await startServerProcess(dataDir, {
    COB_MAX_UPLOAD_BYTES: '2000000000',
    COB_WORK_SIZE_KB: '1600000',
  })
  try {
    const api = createApiClient(server.url, server.key)
    const kernel = await api.create({ resourceLimits: { maxMem: 2_000_000 } })
    const peakKb = (status: string): number => Number(/VmHWM:\s+(\d+)/.exec(status)?.[1])
    const serverPeak = (): number => peakKb(readFileSync(`/proc/${server.pid}/status`, 'utf8'))
    const before = serverPeak()
    const url = `${server.url}/v1/kernel/${kernel}/files/large.bin`
    const headers = { authorization: `Bearer ${server.key}` }

    const sent = createHash('sha256')
    function* blocks(): Generator<Buffer> {
      for (let i = 0; i < BLOCKS; i++) {
        const block = Buffer.from(BLOCK)
        block.writeUInt32LE(i)
        sent.update(block)
        yield block
      }
    }
    let startedAt = performance.now()
    const seconds = (): string => ((performance.now() - startedAt) / 1000).toFixed(1)
    const put = await fetch(url, {
      method: 'PUT',
      headers: { ...headers, 'content-length': String(BLOCKS * BLOCK.length) },
      // Node's two types of web streams are the same object.
      body: Readable.toWeb(Readable.from(blocks())) as unknown as ReadableStream,
      duplex: 'half',
    })
    assert.equal(put.status, 201, await put.text())
    const uploadS = seconds()

    startedAt = performance.now()
    const received = createHash('sha256')
    const got = await fetch(url, { headers })
    for await (const chunk of got.body ?? []) received.update(chunk)
    const downloadS = seconds()
    assert.equal(received.digest('hex'), sent.digest('hex'))

    const { stdout } = await api.run(kernel, 'print(open("/proc/1/status").read())')
    const [grown, agent] = [serverPeak() - before, peakKb(stdout)]
    console.log(
      `1 GB: up in ${uploadS} s, down in ${downloadS} s; peak memory: the server's ${before} KB before and ${before + grown} KB after, the agent's ${agent} KB`,
    )
    assert.ok(grown < MAX_SERVER_GROWTH_KB)
    assert.ok(agent < MAX_AGENT_KB)
  } finally {
    assert.equal(await server.end('SIGTERM'), 0)
  }
})
