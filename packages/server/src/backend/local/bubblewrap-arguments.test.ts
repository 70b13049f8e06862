import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { toFirstCommand } from './bubblewrap-arguments.ts'

const READY_FD = 6

/** Runs the first command of a sandbox that is to say `agent`, up to where it waits for an answer. */
async function startFirst() {
  const limits = { openFilesSoft: 64, openFilesHard: 128, fileBytes: 4096, processes: 30_000 }
  const script = [
    'echo "agent $(ulimit -n) $(ulimit -Hn)"',
    '[ -e /proc/self/fd/6 ] || echo alone',
    'grep -o "^Max processes *30000 *30000" /proc/self/limits | tr -s " "',
  ].join('\n')
  const [command = '', ...args] = toFirstCommand(['/bin/sh', '-c', script], limits, {
    readyFd: READY_FD,
    unusedFd: 7,
  })
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'inherit', ...Array.from({ length: READY_FD - 2 }, () => 'pipe' as const)],
  })
  // Both are pipes, as asked for above; Node's type does not follow that.
  const outcome = Promise.all([text(child.stdout as Duplex), once(child, 'exit').then(([status]) => status)])
  const ready = (child.stdio as readonly unknown[])[READY_FD] as Duplex
  assert.equal(String(await once(ready, 'data')), 'ready\n')
  return { ready, outcome }
}

test('the first command has its limits, and becomes the agent when it is answered', async () => {
  const { ready, outcome } = await startFirst()
  ready.end('go\n')
  assert.deepEqual(await outcome, ['agent 64 128\nalone\nMax processes 30000 30000\n', 0])
})

test('the first command ends, and no agent starts, when the server ends before it answers', async () => {
  const { ready, outcome } = await startFirst()
  ready.destroy()
  assert.deepEqual(await outcome, ['', 1])
})
