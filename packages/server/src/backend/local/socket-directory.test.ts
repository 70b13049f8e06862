import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openSocketDirectory } from './socket-directory.ts'

test('a socket far down a long path listens, keeps its name when closed here, and goes when unlinked', async () => {
  const top = mkdtempSync(join(tmpdir(), 'cob-sockets-'))
  const dir = join(top, 'x'.repeat(200), 'run')
  const sockets = openSocketDirectory(dir)
  assert.equal(statSync(dir).mode & 0o777, 0o700)
  const listening = await sockets.listen('one')
  assert.ok(listening.fd > 2)
  listening.close()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(readdirSync(dir), ['one.sock'])
  await assert.rejects(sockets.connect('one'), /ECONNREFUSED/)
  await sockets.unlink('one')
  await sockets.unlink('one')
  assert.deepEqual(readdirSync(dir), [])
  sockets.close()
  rmSync(top, { recursive: true })
})
