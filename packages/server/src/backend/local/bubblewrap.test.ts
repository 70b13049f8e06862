import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { type HeldBubblewrap, spawnBubblewrap } from './bubblewrap.ts'

// What bubblewrap never does of itself at a moment that a test could choose is done by programs in its place.

let folder: string
let said: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'cob-bubblewrap-'))
  said = path.join(folder, 'said')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** With a program that says in `said` what it sees. */
function spawnInstead(script: string): Promise<HeldBubblewrap> {
  const bwrapPath = path.join(folder, 'bwrap')
  writeFileSync(bwrapPath, `#!/bin/bash\nexec >>${said}\n${script}\n`, { mode: 0o755 })
  const host = {
    bwrapPath,
    layout: { binds: [], symlinks: [], files: [], networkFiles: { none: [], egress: [] } },
    storage: { homeBytes: 1, tmpBytes: 1, shmBytes: 1 },
    processLimits: { openFilesSoft: 1, openFilesHard: 1, fileBytes: 1 },
    dieWithParent: true,
    seccompFilter: undefined,
    without: new Set<never>(),
    inheritable: [],
  }
  return spawnBubblewrap(host, {
    profile: { name: 'test', argv: ['/bin/true'], files: [] },
    network: 'none',
    listeningFd: 0,
    uid: undefined,
    processes: 1,
  })
}

test('the first process is let go when it has said that it is ready, and not before', async () => {
  const held = await spawnInstead(`
    read -r -t 0.3 -u 6 answer && echo "too early: $answer"
    echo '{"child-pid": 4242}' >&5; echo ready >&6
    read -r -u 6 answer; echo "then: $answer"`)
  assert.deepEqual(await held.release(''), { innerPid: 4242 })
  await held.exited
  assert.equal(readFileSync(said, 'utf8'), 'then: go\n')
})

test('a process that ends while its child waits to be let go is told of, and the child is not waited for', async () => {
  const held = await spawnInstead('sleep 100 & echo $!; echo "no more room" >&2; exit 3')
  try {
    await assert.rejects(held.release(''), /could not make the sandbox: no more room/)
  } finally {
    await held.exited
    process.kill(Number(readFileSync(said, 'utf8')), 'SIGKILL')
  }
})
