import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { pino } from 'pino'
import type { Backend, Profile, Sandbox } from '../../packages/server/src/backend/backend.ts'
import { createLocalBackend } from '../../packages/server/src/backend/local/local-backend.ts'
import { backendContract, talk } from './backend.contract.ts'

const MIB = 1024 * 1024
const log = pino({ level: 'silent' })
const HERE = import.meta.dirname
// Long, as people's folders are: the sockets in it must not depend on it (unix(7): 108 bytes).
const dataDir = join(mkdtempSync(join(tmpdir(), 'cob-secret-place-')), 'x'.repeat(120))
after(() => rmSync(join(dataDir, '..'), { recursive: true, force: true }))

const ECHO = `
import os, socket
listening = socket.socket(fileno=3)
listening.setblocking(True)
while True:
    connection, _ = listening.accept()
    try:
        with connection, connection.makefile('rw') as stream:
            for line in stream:
                if line == 'exit\\n': os._exit(0)
                stream.write(line)
                stream.flush()
    except OSError:
        pass
`

backendContract('local', {
  newPlace: () => mkdtempSync(join(dataDir, '..', 'contract-')),
  makeBackend: (place, kept = []) => createLocalBackend({ dataDir: place, kept, log }),
  echo: { name: 'echo', argv: ['/usr/bin/python3', '-I', '-S', '-c', ECHO], files: [] },
  broken: { name: 'broken', argv: ['/cob/missing'], files: [] },
})

const STORAGE = { homeBytes: 8 * MIB, tmpBytes: 4 * MIB, shmBytes: 4 * MIB }
const LIMITS = { memoryBytes: 128 * MIB, processes: 32, cpuWeight: 100 }
/** Other runs of this file may go on at the same time. */
const toMarker = (name: string): string => `${name}-${process.pid}`
const profile = (marker = toMarker('agent')): Profile => ({
  name: 'stand-in',
  argv: ['/usr/bin/python3', '-I', '-S', '/cob/agent.py', marker],
  files: [{ path: '/cob/agent.py', source: join(HERE, 'stand-in-agent.py') }],
})

describe('local backend', { timeout: 120_000 }, () => {
  let backend: Backend
  before(async () => {
    backend = await createLocalBackend({ dataDir, storage: STORAGE, log })
  })
  after(() => backend.close())

  /** A sandbox with limits, and a way to run Python in it. */
  const withAgent = async (
    use: (run: (source: string) => Promise<unknown>, sandbox: Sandbox, stream: Duplex) => Promise<void>,
    limits = LIMITS,
    marker = toMarker('agent'),
  ): Promise<void> => {
    const sandbox = await backend.prepare(profile(marker))
    try {
      await backend.assign(sandbox, limits)
      const stream = await backend.connect(sandbox)
      stream.on('error', () => {})
      await use((source) => run(stream, source), sandbox, stream)
      stream.destroy()
    } finally {
      await backend.destroy(sandbox)
    }
  }

  test('every limit is enforced on this host', () =>
    withAgent(async (_, { isolation }) => {
      assert.deepEqual(isolation.unenforced, [])
      assert.equal(isolation.network, 'none')
    }))

  test('two sandboxes run under host user ids of their own', () =>
    withAgent(
      () =>
        withAgent(
          async () => {
            const [one, two] = [toMarker('one'), toMarker('two')].map(
              (marker) => new Set(findProcesses(marker).map(({ uid }) => uid)),
            )
            assert.equal(one?.size, 1)
            assert.equal(two?.size, 1)
            assert.equal(new Set([...(one ?? []), ...(two ?? []), 0]).size, 3)
          },
          LIMITS,
          toMarker('two'),
        ),
      LIMITS,
      toMarker('one'),
    ))

  test('the root holds a system and nothing of the host', () =>
    withAgent(async (run) => {
      const expected = [
        'bin',
        'cob',
        'dev',
        'etc',
        'home',
        'lib',
        'lib32',
        'lib64',
        'libx32',
        'proc',
        'sbin',
        'tmp',
        'usr',
      ]
      const root = (await run('result = os.listdir("/")')) as string[]
      assert.deepEqual(
        root.filter((name) => !expected.includes(name)),
        [],
      )
      for (const path of [
        '/etc/shadow',
        '/root',
        '/var',
        '/run',
        '/sys',
        dataDir,
        HERE,
        '/proc/1/root/etc/shadow',
      ]) {
        assert.equal(await run(`result = os.path.exists(${JSON.stringify(path)})`), false, path)
      }
      for (const path of ['/new', '/usr/new', '/etc/new', '/dev/new', '/cob/new', '/home/new']) {
        await assert.rejects(run(`open('${path}', 'w')`), /Read-only file system|Permission denied/, path)
      }
      await assert.rejects(run('os.chmod("/cob/agent.py", 0o666)'), /Read-only/)
      assert.equal(
        await run('open("/home/work/a", "w").close(); open("/tmp/a", "w").close(); result = os.getcwd()'),
        '/home/work',
      )
      assert.equal(await run('result = os.popen("awk 1 /etc/hostname").read()'), 'cob\n')
    }))

  test('nothing inside tells of the host: environment, command lines, mounts, descriptors', () => {
    process.env.COB_TEST_CANARY = 'canary-in-the-environment'
    return withAgent(async (run) => {
      const seen = String(
        await run(`
texts = [open('/proc/self/mountinfo').read(), open('/proc/self/mounts').read(), open('/proc/net/unix').read()]
for pid in filter(str.isdigit, os.listdir('/proc')):
    texts += [open(f'/proc/{pid}/{name}').read() for name in ('environ', 'cmdline')]
texts += [listening.getsockname()]
result = '\\n'.join(texts)`),
      )
      for (const secret of [
        'canary-in-the-environment',
        basename(dataDir),
        'cob-secret-place',
        HERE,
        'bwrap',
        '.sock',
      ]) {
        assert.ok(!seen.includes(secret), secret)
      }
      const descriptors = (await run(
        "result = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}') or fd == '3'}",
      )) as Record<string, string>
      for (const [fd, target] of Object.entries(descriptors)) {
        // 3: listening; 4: this connection. A parent's descriptor that leaked into this process is masked.
        if (fd === '3' || fd === '4') assert.match(target, /^socket:/)
        else assert.equal(target, '/dev/null', `descriptor ${fd}`)
      }
    })
  })

  test('the agent is pid 1 without capabilities or ways to gain them, and cannot be killed or stopped from inside', () =>
    withAgent(async (run) => {
      const status = String(await run("result = open('/proc/self/status').read()"))
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'))
      }
      assert.match(status, /^NoNewPrivs:\t1$/m)
      assert.deepEqual(await run('result = [os.getpid(), os.getuid(), os.getgid(), os.getgroups()]'), [
        1,
        1000,
        1000,
        [],
      ])
      assert.notEqual(await run('result = os.system("unshare --user true 2>/dev/null")'), 0)
      await run(
        'in_child(lambda: [os.kill(1, each) for each in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)])',
      )
      assert.equal(await run('result = 1 + 1'), 2)
    }))

  test('limits of a process hold: no core dumps, bounded descriptors and file size', () =>
    withAgent(async (run) => {
      const limits = await run(
        'import resource as r; result = [r.getrlimit(each) for each in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_FSIZE)]',
      )
      assert.deepEqual(limits, [
        [0, 0],
        [1024, 4096],
        [1024 * MIB, 1024 * MIB],
      ])
    }))

  test('the host user id of a sandbox may have as many processes as the sandbox', () =>
    withAgent(async (run) =>
      assert.deepEqual(await run('import resource as r; result = r.getrlimit(r.RLIMIT_NPROC)'), [128, 128]),
    ))

  test("there is no network, not even the host's loopback or its abstract sockets", async () => {
    const tcp = createServer().listen(0, '127.0.0.1')
    const name = toMarker('cob-abstract')
    const abstract = createServer().listen(`\0${name}`)
    await Promise.all([once(tcp, 'listening'), once(abstract, 'listening')])
    try {
      const { port } = tcp.address() as { port: number }
      await withAgent(async (run) => {
        await assert.rejects(run(`socket.create_connection(('127.0.0.1', ${port}), 1)`), /Connection refused/)
        await assert.rejects(run("socket.create_connection(('192.0.2.1', 80), 1)"), /unreachable/)
        await assert.rejects(run(`s = socket.socket(socket.AF_UNIX); s.connect('\\0${name}')`), /refused/)
        assert.deepEqual(
          await run("result = [line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]]"),
          ['lo'],
        )
      })
    } finally {
      tcp.close()
      abstract.close()
    }
  })

  test('a process that takes too much memory is killed and counted, and the agent lives', () =>
    withAgent(async (run, sandbox) => {
      const status = await run('result = in_child(lambda: bytearray(512 << 20).count(1))')
      assert.equal(status, 9)
      const usage = await backend.usage(sandbox)
      assert.equal(usage.oomKills, 1)
      assert.ok(usage.memoryBytes <= LIMITS.memoryBytes)
      assert.equal(await run('result = 1'), 1)
    }))

  test('files in memory count as memory', () =>
    withAgent(async (run, sandbox) => {
      const status = await run(`
def fill():
    fd = os.memfd_create('x')
    for _ in range(512): os.write(fd, b'x' * (1 << 20))
result = in_child(fill)`)
      assert.equal(status, 9)
      assert.ok((await backend.usage(sandbox)).oomKills >= 1)
    }))

  test('home, /tmp and /dev/shm are full at their size', () =>
    withAgent(async (run) => {
      for (const [path, bytes] of Object.entries({
        '/home/work': STORAGE.homeBytes,
        '/tmp': STORAGE.tmpBytes,
        '/dev/shm': STORAGE.shmBytes,
      })) {
        const written = await run(`
written = 0
with open('${path}/big', 'wb', buffering=0) as file:
    try:
        while written < ${2 * bytes}: written += file.write(b'x' * 65536)
    except OSError as error: failure = error.errno
result = [written, failure]`)
        assert.deepEqual(written, [bytes, 28], path)
      }
    }))

  test('a memory limit below what is in use is refused with both figures', () =>
    withAgent(async (run, sandbox) => {
      await run('held = bytearray(b"x") * (32 << 20)')
      await assert.rejects(
        backend.assign(sandbox, { ...LIMITS, memoryBytes: 16 * MIB }),
        /already uses \d+ bytes.*16777216/,
      )
      await backend.assign(sandbox, { ...LIMITS, memoryBytes: 256 * MIB })
    }))

  test('processes stop at their limit, and destroy ends all of them quickly', async () => {
    const sandbox = await backend.prepare(profile(toMarker('fork')))
    await backend.assign(sandbox, { ...LIMITS, processes: 20 })
    const stream = await backend.connect(sandbox)
    const forked = await run(
      stream,
      `
count = 0
try:
    while count < 100:
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if count % 2: os.kill(os.getpid(), signal.SIGSTOP)
            while True: pass
        count += 1
except BlockingIOError: pass
result = count`,
    )
    assert.equal(forked, 19)
    assert.equal((await backend.usage(sandbox)).processes, 20)
    const start = performance.now()
    await backend.destroy(sandbox)
    assert.ok(performance.now() - start < 3000)
    assert.deepEqual(findProcesses(toMarker('fork')), [])
    stream.destroy()
  })

  test('CPU time is counted', () =>
    withAgent(async (run, sandbox) => {
      const before = (await backend.usage(sandbox)).cpuMs
      await run('import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass')
      const spent = (await backend.usage(sandbox)).cpuMs - before
      assert.ok(spent >= 190 && spent < 2000, `${spent} ms`)
    }))

  test('nothing is left after many sandboxes, some destroyed while they start', async () => {
    const first = await backend.prepare(profile())
    await backend.destroy(first)
    const clean = await settle(takeInventory)
    for (let count = 0; count < 20; count++) {
      const sandbox = await backend.prepare(profile())
      const stream = await backend.connect(sandbox)
      stream.on('error', () => {})
      await backend.destroy(sandbox)
      stream.destroy()
    }
    const many = await Promise.all(Array.from({ length: 10 }, () => backend.prepare(profile())))
    await Promise.all(many.map((each) => backend.destroy(each)))
    await assert.rejects(backend.prepare({ ...profile(), argv: ['/missing'] }), /\/missing cannot be run/)
    await assert.rejects(
      backend.prepare({ ...profile(), files: [{ path: '/x', source: '/missing' }] }),
      /ENOENT/,
    )
    await assert.rejects(
      backend.prepare({ ...profile(), files: [{ path: '/usr/x', source: '/etc/hosts' }] }),
      /Read-only/,
    )
    assert.deepEqual(await settle(takeInventory, clean), clean)
  })

  test('closing at any moment of a start leaves nothing', async () => {
    for (let afterMs = 0; afterMs < 20; afterMs += 2) {
      const dir = mkdtempSync(join(dataDir, '..', 'closing-'))
      const other = await createLocalBackend({ dataDir: dir, log })
      const starting = other.prepare(profile(toMarker('closing'))).catch(() => {})
      const { promise, resolve } = Promise.withResolvers<void>()
      setTimeout(resolve, afterMs)
      await promise
      await other.close()
      await starting
      assert.deepEqual(findProcesses(toMarker('closing')), [], `after ${afterMs} ms`)
      assert.deepEqual(readdirSync(join(dir, 'run')), [], `after ${afterMs} ms`)
    }
  })

  test('a sandbox whose outer process was killed is still destroyed completely', async () => {
    const marker = toMarker('orphan')
    const sandbox = await backend.prepare(profile(marker))
    const outer = findProcesses(marker).find(
      ({ pid }) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'bwrap\n',
    )
    assert.ok(outer)
    process.kill(outer.pid, 'SIGKILL')
    await sandbox.exited
    assert.equal(findProcesses(marker).length, 1)
    await backend.destroy(sandbox)
    assert.deepEqual(findProcesses(marker), [])
  })

  test('what a killed server left is gone once the next one has started', async () => {
    const dir = mkdtempSync(join(dataDir, '..', 'crash-'))
    const child = spawn(process.execPath, [join(HERE, 'local-crash.ts'), dir, toMarker('crash')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.ok(findProcesses(toMarker('crash')).length > 0, 'sandboxes outlive their server')
    const next = await createLocalBackend({ dataDir: dir, log })
    assert.deepEqual(await settle(() => findProcesses(toMarker('crash')), []), [])
    assert.deepEqual(readdirSync(join(dir, 'run')), [])
    await next.close()
  })

  test('a process that has got the id of one of a sandbox is not taken for it, and left alone', async () => {
    const dir = mkdtempSync(join(dataDir, '..', 'reuse-'))
    const first = await createLocalBackend({ dataDir: dir, log })
    const sandboxes = [await first.prepare(profile()), await first.prepare(profile())]
    const [one, other] = sandboxes.map((sandbox) => Object(first.describe(sandbox)))
    await first.close(sandboxes)
    const bystander = spawn('/bin/sleep', ['60'], { stdio: 'ignore' })
    const gone = once(bystander, 'exit')
    const pid = bystander.pid ?? 0
    const another = { pid, startTime: one.outer.startTime }
    const kept = [
      { ...one, outer: another },
      { ...other, outer: another, inner: another },
    ]
    const next = await createLocalBackend({ dataDir: dir, kept, log })
    for (const each of kept) {
      const sandbox = await next.adopt(each)
      await sandbox.exited
      await next.destroy(sandbox)
    }
    // A description cannot name cgroups of others.
    const elsewhere = [{ dir: '/sys/fs/cgroup', controllers: ['v2 memory'] }]
    const forged = { ...kept[0], id: '0'.repeat(24), cgroups: elsewhere }
    await assert.rejects(next.adopt(forged), /nothing is left/)
    assert.equal(bystander.exitCode ?? bystander.signalCode, null)
    bystander.kill('SIGKILL')
    await gone
    await next.close()
    assert.deepEqual(readdirSync(join(dir, 'run')), [])
  })

  test('the host user id that an adopted sandbox has is given to no other', async () => {
    const dir = mkdtempSync(join(dataDir, '..', 'uids-'))
    const uids = { uidBase: 290_000, uidCount: 3 }
    const first = await createLocalBackend({ dataDir: dir, log, ...uids })
    const sandbox = await first.prepare(profile())
    const kept = [first.describe(sandbox)]
    await first.close([sandbox])
    const next = await createLocalBackend({ dataDir: dir, log, kept, ...uids })
    const adopted = await next.adopt(kept[0])
    const others = [await next.prepare(profile()), await next.prepare(profile())]
    const used = [adopted, ...others].map((each) => Object(next.describe(each)).uid)
    assert.equal(new Set(used).size, 3)
    await assert.rejects(next.prepare(profile()), /all 3 user ids/)
    await next.destroy(adopted)
    await next.destroy(await next.prepare(profile()))
    await next.close()
  })

  test('a missing bubblewrap is reported with what to type', () =>
    assert.rejects(
      createLocalBackend({ dataDir, bwrapPath: '/missing/bwrap', log }),
      /apt-get install bubblewrap/,
    ))
})

async function run(stream: Duplex, source: string): Promise<unknown> {
  const answer = JSON.parse(await talk(stream, JSON.stringify(source))) as { value?: unknown; error?: string }
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer.value
}

/** Processes of the host with an argument `marker`. */
function findProcesses(marker: string): { pid: number; uid: number }[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const isIt = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(marker)
      return isIt && Number(name) !== process.pid
        ? [{ pid: Number(name), uid: statSync(`/proc/${name}`).uid }]
        : []
    } catch {
      return []
    }
  })
}

/** What a sandbox could leave behind. */
function takeInventory(): unknown {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    sockets: readdirSync(join(dataDir, 'run')),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    groups: readFileSync(join(dataDir, 'cgroups'), 'utf8')
      .split('\n')
      .filter((dir) => existsSync(dir))
      .flatMap((dir) => readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
      .map(({ name }) => name),
    children: readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8'),
    agents: findProcesses(toMarker('agent')),
  }
}

/** Reads until two readings agree with `expected`, or with each other; at most 2 s. Handles close a little later. */
async function settle<T>(read: () => T, expected?: T): Promise<T> {
  let last = read()
  for (let attempt = 0; attempt < 40; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const next = read()
    if (JSON.stringify(next) === JSON.stringify(expected ?? last)) return next
    last = next
  }
  return last
}
