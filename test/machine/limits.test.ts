/** Run by `guest.ts`: every limit through the public API, compared with the cgroup's own files. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { pino } from 'pino'
import { createLocalBackend } from '../../packages/server/src/backend/local/local-backend.ts'
import { type ApiClient, createApiClient } from '../support/api-client.ts'
import { type ServerProcess, startServerProcess } from '../support/server-process.ts'
import { until } from '../support/until.ts'

const MIB = 1024 * 1024
/** Killing 128 processes is work for the processor. */
const DESTROY_MS = process.env.TEST_EMULATED === '1' ? 6000 : 2000
const MEMORY_LABEL = process.env.TEST_MEMORY_LABEL ?? 'cgroup v2'
const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-limits-'))
let server: ServerProcess
let api: ApiClient
before(async () => {
  // The groups that are looked for are those of its sessions alone.
  server = await startServerProcess(dataDir, { COB_MAX_WARM: '0' })
  api = createApiClient(server.url, server.key)
})
// One that fails must not disturb the next.
afterEach(async () => {
  const { body } = await api.call<{ kernels: { kernelId: string }[] }>('GET', '/v1/kernels')
  await Promise.all(body.kernels.map(({ kernelId }) => api.destroy(kernelId)))
  // A session that ended by itself is gone to the API a moment earlier than its sandbox.
  await until(() => readGroups().length === 0)
})
after(async () => {
  assert.equal(await server.end('SIGTERM'), 0)
})

test(`memory is limited by ${MEMORY_LABEL}, the rest by v2, and the server has a leaf of its own`, async () => {
  const id = await api.create()
  const { isolation } = await api.info(id)
  assert.deepEqual(
    { memory: isolation.memory, processes: isolation.processes, cpu: isolation.cpu },
    { memory: MEMORY_LABEL, processes: 'cgroup v2', cpu: 'cgroup v2' },
  )
  assert.deepEqual(isolation.unenforced, [])
  assert.match(readFileSync(`/proc/${server.pid}/cgroup`, 'utf8'), /^0::\/.*\/cob-server$/m)
  assert.equal(readGroup('cpu.weight'), '100')
})

const BOMBS = {
  heap: 'x = b"x" * 300_000_000',
  tmpfs: 'with open("/tmp/a", "wb") as f:\n  for _ in range(200): f.write(bytes(1 << 20))',
  memfd: 'import os\nfd = os.memfd_create("x")\nfor _ in range(300): os.write(fd, bytes(1 << 20))',
}
for (const [name, code] of Object.entries(BOMBS)) {
  test(`a ${name} bomb ends as out-of-memory with the partial output, without a page of swap`, async () => {
    assert.ok(readFileSync('/proc/swaps', 'utf8').split('\n').length > 2, 'this machine must have swap')
    const swappedOut = readSwappedOut()
    const id = await api.create({ resourceLimits: { maxMem: 100_000 } })
    const result = await api.run(id, `print("partial", flush=True)\n${code}`)
    assert.deepEqual(
      [result.status, result.reason, result.stdout],
      ['terminated', 'out-of-memory', 'partial\n'],
    )
    assert.equal((await api.gone(id)).reason, 'out-of-memory')
    assert.equal(readSwappedOut(), swappedOut)
  })
}

test('a child that takes too much memory is killed alone, and the session goes on', async () => {
  const id = await api.create({ resourceLimits: { maxMem: 100_000 } })
  const { stdout } = await api.run(
    id,
    `import os
kept = 41
pid = os.fork()
if pid == 0: b'x' * 300_000_000
print(os.waitpid(pid, 0)[1])`,
  )
  assert.equal(stdout, '9\n')
  const events = MEMORY_LABEL === 'cgroup v2' ? readGroup('memory.events') : readGroup('memory.oom_control')
  assert.match(events, /^oom_kill 1$/m)
  assert.equal((await api.run(id, 'kept + 1')).value?.['text/plain'], '42')
})

test(`a fork bomb is bounded, and destroyed with everything of it in under ${DESTROY_MS / 1000} s`, async (context) => {
  const id = await api.create()
  const running = api.run(id, 'import os\nwhile True:\n  try: os.fork()\n  except BlockingIOError: pass')
  await until(() => readGroup('pids.current') === readGroup('pids.max'))
  assert.equal(readGroup('pids.max'), '129')
  const began = performance.now()
  await api.destroy(id)
  const tookMs = performance.now() - began
  context.diagnostic(`destroyed in ${tookMs.toFixed(0)} ms`)
  assert.ok(tookMs < DESTROY_MS, `${tookMs} ms`)
  assert.equal((await running).reason, 'user-requested')
  assert.deepEqual(readGroups(), [])
})

test('the figures of a session are those of its cgroup', async () => {
  const id = await api.create()
  await api.run(id, 'kept = bytearray(b"x") * (40 << 20)')
  const spend = 'import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass'
  await api.run(id, spend)
  const readMemory = (): number =>
    Number(readGroup(MEMORY_LABEL === 'cgroup v2' ? 'memory.current' : 'memory.usage_in_bytes'))
  const readCpuMs = (): number => Number(/^usage_usec (\d+)$/m.exec(readGroup('cpu.stat'))?.[1]) / 1000
  assert.ok(readMemory() > 40 * MIB)
  assert.ok(readCpuMs() > 500)
  // Read once a second.
  await until(async () => {
    const { memoryUsed, cpuCreditUsed } = await api.info(id)
    return Math.abs(memoryUsed * 1024 - readMemory()) < MIB && Math.abs(cpuCreditUsed - readCpuMs()) < 20
  })
})

test('CPU time beyond its credit ends a session, with the partial output', async () => {
  // Where the processor is emulated, starting alone takes a second.
  const id = await api.create({ resourceLimits: { maxCpuCredit: 5000 } })
  const result = await api.run(id, 'print("partial", flush=True)\nwhile True: pass')
  assert.deepEqual(
    [result.status, result.reason, result.stdout],
    ['terminated', 'cpu-credit-exhausted', 'partial\n'],
  )
  assert.equal((await api.gone(id)).reason, 'cpu-credit-exhausted')
})

test('a sandbox of three times the weight gets about three times the CPU time', async (context) => {
  const dir = mkdtempSync(path.join(tmpdir(), 'cob-weights-'))
  const backend = await createLocalBackend({ dataDir: dir, log: pino({ level: 'silent' }) })
  try {
    // All on one processor: how they are spread over several is not a matter of weights.
    const spin = 'for i in 1 2 3; do while :; do :; done & done; wait'
    const spinning = { name: 'spin', argv: ['/usr/bin/taskset', '-c', '0', '/bin/sh', '-c', spin], files: [] }
    const [light, heavy] = [await backend.prepare(spinning), await backend.prepare(spinning)]
    const limits = { memoryBytes: 64 * MIB, processes: 16 }
    await backend.assign(light, { ...limits, cpuWeight: 100 })
    await backend.assign(heavy, { ...limits, cpuWeight: 300 })
    const read = (): Promise<number[]> =>
      Promise.all([light, heavy].map(async (each) => (await backend.usage(each)).cpuMs))
    // The start of both is no matter of weights either.
    let [lightBefore = 0, heavyBefore = 0] = await read()
    const settledAt = lightBefore + 500
    await until(async () => {
      ;[lightBefore = 0, heavyBefore = 0] = await read()
      return lightBefore > settledAt
    })
    let ratio = 0
    await until(async () => {
      const [lightMs = 0, heavyMs = 0] = await read()
      ratio = (heavyMs - heavyBefore) / (lightMs - lightBefore)
      return lightMs - lightBefore > 2000
    })
    context.diagnostic(`${ratio.toFixed(2)} times`)
    assert.ok(ratio > 2 && ratio < 4, `${ratio} times`)
  } finally {
    await backend.close()
  }
})

test('sandboxes that spin do not starve the server', async (context) => {
  const ids = await Promise.all(Array.from({ length: 4 }, () => api.create()))
  const spin = 'import os\nfor _ in range(3): os.fork()\nwhile True: pass'
  const running = ids.map((id) => api.run(id, spin))
  await until(() =>
    readGroups().every((group) => Number(readFileSync(`${group}/pids.current`, 'utf8')) >= 10),
  )
  const measure = async (): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < 15; i++) {
      const began = performance.now()
      await api.info(ids[i % ids.length] ?? '')
      times.push(performance.now() - began)
    }
    return times.sort((a, b) => a - b)[7] ?? Infinity
  }
  const leaf = `/sys/fs/cgroup${existsSync('/sys/fs/cgroup/unified') ? '/unified' : ''}${/^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]}/cpu.weight`
  assert.equal(readFileSync(leaf, 'utf8').trim(), '10000')
  const heavyMs = await measure()
  writeFileSync(leaf, '100')
  const usualMs = await measure()
  writeFileSync(leaf, '10000')
  context.diagnostic(
    `median of an answer: ${heavyMs.toFixed(1)} ms; with the usual weight ${usualMs.toFixed(1)} ms`,
  )
  assert.ok(heavyMs < 500, `${heavyMs} ms`)
  await Promise.all(ids.map((id) => api.destroy(id)))
  for (const { reason } of await Promise.all(running)) assert.equal(reason, 'user-requested')
})

/** The v2 cgroups of all live sandboxes of the server. */
function readGroups(): string[] {
  return readBases()
    .filter((base) => existsSync(path.join(base, 'cgroup.subtree_control')))
    .flatMap(listFolders)
}

/** A file of the only live sandbox. */
function readGroup(file: string): string {
  const files = readBases()
    .flatMap(listFolders)
    .map((group) => path.join(group, file))
    .filter((each) => existsSync(each))
  assert.equal(files.length, 1, `${file}: ${files.join(' ')}`)
  return readFileSync(files[0] ?? '', 'utf8').trim()
}

function readBases(): string[] {
  return readFileSync(path.join(dataDir, 'cgroups'), 'utf8').split('\n').filter(Boolean)
}

function listFolders(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(dir, name))
}

function readSwappedOut(): string {
  return /^pswpout (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? 'not told'
}
