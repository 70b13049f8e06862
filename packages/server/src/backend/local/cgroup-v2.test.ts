import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Controller, createCgroup, openCgroup, readPids, removeGroup } from './cgroup.ts'
import { findOwnCgroups } from './cgroup-probe.ts'
import { CGROUP_V2_CONTROLLERS, delegateControllers, SERVER_LEAF } from './cgroup-v2.ts'

const LIMITS = { memoryBytes: 64 * 1024 * 1024, processes: 9, cpuWeight: 250 }

const controller = (name: string): Controller => {
  const found = CGROUP_V2_CONTROLLERS[name]
  assert.ok(found, name)
  return found
}

/** A folder with the files of a v2 group, as they read on Linux 6. */
function makeFiles(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'cob-cgroup-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
  return dir
}

test('reads the figures of a v2 group', () => {
  const dir = makeFiles({
    'memory.current': '14843904\n',
    'memory.events': 'low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n',
    'pids.current': '5\n',
    'cpu.stat': 'usage_usec 1234500\nuser_usec 1000000\nsystem_usec 234500\n',
  })
  assert.deepEqual(controller('memory').usage(dir), { memoryBytes: 14_843_904, oomKills: 2 })
  assert.deepEqual(controller('pids').usage(dir), { processes: 5 })
  assert.deepEqual(controller('cpu').usage(dir), { cpuMs: 1234.5 })
  rmSync(dir, { recursive: true })
})

test('writes the limits of a v2 group and forbids swap', async () => {
  const dir = makeFiles({
    'memory.current': '4096\n',
    'memory.stat': 'anon 4096\nactive_file 0\ninactive_file 0\n',
    'memory.max': 'max\n',
    'memory.swap.max': 'max\n',
    'memory.oom.group': '0\n',
    'pids.max': 'max\n',
    'cpu.weight': '100\n',
  })
  for (const each of Object.values(CGROUP_V2_CONTROLLERS)) {
    assert.equal(each.holds(dir, LIMITS), false)
    each.limit(dir, LIMITS)
    assert.equal(each.holds(dir, LIMITS), true)
  }
  assert.equal(readFileSync(join(dir, 'memory.swap.max'), 'utf8'), '0')
  rmSync(dir, { recursive: true })
})

test('a v2 memory limit below what is in use is refused, as the kernel would kill at once', async () => {
  const used = 2 * LIMITS.memoryBytes
  const files = { 'memory.current': `${used}\n`, 'memory.max': 'max\n', 'memory.oom.group': '0\n' }
  const held = makeFiles({ ...files, 'memory.stat': 'active_file 0\ninactive_file 4096\n' })
  assert.throws(() => controller('memory').limit(held, LIMITS), /already uses 134217728 bytes.*67108864/)
  assert.equal(readFileSync(join(held, 'memory.max'), 'utf8'), 'max\n')
  const cached = makeFiles({ ...files, 'memory.stat': `active_file 0\ninactive_file ${used}\n` })
  controller('memory').limit(cached, LIMITS)
  for (const dir of [held, cached]) rmSync(dir, { recursive: true })
})

test('limits that stand are not written again, but all of them after one that failed', async () => {
  const dir = makeFiles({ 'memory.current': '4096\n', 'memory.stat': 'active_file 0\ninactive_file 0\n' })
  const names = { memory: 'memory.max', pids: 'pids.max', cpu: 'cpu.weight' }
  const group = openCgroup([{ dir, controllers: Object.keys(names).map(controller) }])
  const read = (): string[] => Object.values(names).map((name) => readFileSync(join(dir, name), 'utf8'))
  await group.limit(LIMITS)
  for (const name of Object.values(names)) writeFileSync(join(dir, name), 'as it was')
  await group.limit({ ...LIMITS, cpuWeight: 77 })
  assert.deepEqual(read(), ['as it was', 'as it was', '77'])
  await assert.rejects(group.limit({ ...LIMITS, memoryBytes: 1024 }), /already uses 4096 bytes/)
  await group.limit({ ...LIMITS, cpuWeight: 77 })
  assert.deepEqual(read(), [String(LIMITS.memoryBytes), '9', '77'])
  rmSync(dir, { recursive: true })
})

test('on a real v2 hierarchy the server makes room for itself and hands a controller down', async (context) => {
  const own = findOwnCgroups().find(({ version }) => version === 2)
  const [name] = own ? readFileSync(join(own.dir, 'cgroup.controllers'), 'utf8').trim().split(' ') : []
  if (!own || !name) return context.skip('no v2 hierarchy with a controller to hand down')
  const wasHandedDown = readFileSync(join(own.dir, 'cgroup.subtree_control'), 'utf8').includes(name)
  const root = join(own.dir, `cob-test-${process.pid}`)
  // Any controller will do: which ones v2 has is this host's choice.
  await delegateControllers(own.dir, root, [name])
  const group = join(root, 'service')
  mkdirSync(group)
  // Starts processes all the time, also while they are moved.
  const server = spawn('/bin/sh', ['-c', 'while :; do /bin/true & done'], { stdio: 'ignore' })
  const gone = once(server, 'exit')
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(server.pid))
    const base = join(group, 'cob-x')
    assert.deepEqual(await delegateControllers(group, base, [name, 'nonsense']), [name])
    assert.deepEqual(readPids(group), [])
    assert.ok(readPids(join(group, SERVER_LEAF)).includes(server.pid ?? 0))
    const cgroup = await createCgroup([{ dir: base, controllers: [] }], 'sandbox')
    await cgroup.join(server.pid ?? 0)
    assert.ok(cgroup.pids().includes(server.pid ?? 0))
    server.kill('SIGKILL')
    await gone
    await cgroup.remove()
    await cgroup.remove()
    assert.equal(existsSync(join(base, 'sandbox')), false)
    // What it started last may take a moment to be gone.
    for (const dir of [base, join(group, SERVER_LEAF)]) await removeGroup(dir)
  } finally {
    server.kill('SIGKILL')
    await gone
    for (const dir of [group, root]) await removeGroup(dir)
    if (!wasHandedDown) writeFileSync(join(own.dir, 'cgroup.subtree_control'), `-${name}`)
  }
})
