import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import type { AuditEntry, Problem, RunResult } from '@cob/protocol'
import { Pool } from 'undici'
import { type Disk, mountDisk } from '../support/disk.ts'
import { runEvents } from '../support/events.ts'
import {
  createRestartingServer,
  type RecordedSandbox,
  type RestartingServer,
} from '../support/restarting-server.ts'
import { openTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

/** Each test causes a fault, and tells what clients see meanwhile and what is there afterwards: docs/operations.md has the table. */

const DISK_MB = 24
/** Prints a number every 20 ms for two seconds. */
const COUNTING = 'import time\nfor i in range(100): print(i, flush=True); time.sleep(0.02)'
const COUNTED = Array.from({ length: 100 }, (_, i) => `${i}\n`).join('')

interface Faulty {
  readonly server: RestartingServer
  /** Creates so many kernels. */
  readonly create: (count: number) => Promise<string[]>
  readonly value: (kernel: string, code: string) => Promise<unknown>
  /** Code that counts, started and not waited for. */
  readonly count: (kernel: string) => Promise<unknown>
  /** What it has printed in all. */
  readonly counted: (kernel: string) => Promise<string>
  /** The status of `GET /readyz`. */
  readonly readiness: () => Promise<number>
}

async function startFaulty(
  t: TestContext,
  environment: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<Faulty> {
  const server = createRestartingServer(environment, wrapper)
  t.after(() => server.close())
  await server.start()
  return toFaulty(server)
}

/** On a data folder that is a disk of its own. */
async function startOnDisk(t: TestContext): Promise<Faulty & { disk: Disk }> {
  const server = createRestartingServer()
  const disk = mountDisk(server.dataDir, DISK_MB)
  t.after(async () => {
    await server.end('SIGINT').catch(() => {})
    disk.unmount()
    await server.close()
  })
  await server.start()
  return { ...toFaulty(server), disk }
}

function toFaulty(server: RestartingServer): Faulty {
  return {
    server,
    create: (count) => Promise.all(Array.from({ length: count }, () => server.api.create())),
    value: async (kernel, code) => (await server.api.run(kernel, code)).value?.['text/plain'],
    count: (kernel) => server.api.run(kernel, COUNTING, { prefer: 'wait=0' }, 'counting'),
    async counted(kernel) {
      let text = ''
      for (;;) {
        const { stdout, status } = await server.api.run(kernel, '', { prefer: 'wait=5' }, 'counting')
        text += stdout
        if (status !== 'continued') return text
      }
    },
    readiness: async () => (await fetch(`${server.url}/readyz`)).status,
  }
}

/** Posts code until it is refused: there may be room left for some. How often it was not. */
async function untilRefused(
  { server }: Faulty,
  kernel: string,
  code: string,
): Promise<{ done: number; problem: Problem }> {
  for (let done = 0; done < 5000; done++) {
    const { status, body } = await server.api.call('POST', `/v1/kernel/${kernel}`, { code })
    if (status !== 200) return { done, problem: body }
  }
  throw new Error('it is never refused')
}

/** The same of sessions. */
async function untilNoMore({ server }: Faulty): Promise<Problem> {
  for (let made = 0; made < 50; made++) {
    const { status, body } = await server.api.call<Problem & { kernelId: string }>(
      'POST',
      '/v1/kernel/create',
      { lang: 'python3' },
    )
    if (status !== 201) return body
    await server.api.destroy(body.kernelId)
  }
  throw new Error('it is never refused')
}

test('a full disk: code and sessions are refused, what runs goes on, and with room everything is as before', async (t) => {
  const faulty = await startOnDisk(t)
  const { server, disk, value } = faulty
  const [kernel = '', other = '', third = ''] = await faulty.create(3)
  await server.api.run(kernel, 'x = 0')
  await faulty.count(other)
  disk.fill()
  const { done, problem } = await untilRefused(faulty, kernel, 'x += 1')
  assert.deepEqual([problem.status, problem.code], [503, 'not-recorded'])
  assert.match(problem.detail, /no space left on device/)
  const refused = await untilNoMore(faulty)
  assert.deepEqual([refused.status, refused.code], [503, 'not-recorded'])
  assert.equal((await server.api.call('POST', '/v1/admin/keys', { name: 'no room' })).status, 503)
  assert.equal(await faulty.readiness(), 503)
  assert.equal((await server.api.info(kernel)).numQueriesExecuted, done + 1)
  await server.api.destroy(third)
  assert.equal(await faulty.counted(other), COUNTED)
  await until(() => server.log().includes('database or disk is full'))
  disk.empty()
  await until(async () => (await faulty.readiness()) === 200)
  assert.equal(await value(kernel, 'x'), String(done))
  assert.equal((await server.api.info(kernel)).numQueriesExecuted, done + 2)
  // Its end is written now.
  await until(() => server.recorded(third) === undefined)

  disk.fill()
  await server.end('SIGKILL')
  await assert.rejects(server.start(), /no space left|disk is full/i)
  disk.empty()
  await server.start()
  assert.equal(await value(kernel, 'x'), String(done))
  assert.equal((await server.api.gone(third)).reason, 'user-requested')
})

test('a full disk: the server is not ready, also where its database has room of its own', async (t) => {
  const faulty = await startOnDisk(t)
  const { server, disk } = faulty
  const [kernel = ''] = await faulty.create(1)
  // Its log has the length then that it keeps.
  for (let i = 0; i < 400; i++) await server.api.call('POST', '/v1/admin/keys', { name: `${i}` })
  disk.fill()
  await untilRefused(faulty, kernel, 'x = 1')
  assert.equal(await faulty.readiness(), 503)
  disk.empty()
  await until(async () => (await faulty.readiness()) === 200)
})

test('a full disk: code that was cancelled stays so, and what was printed meanwhile is told with the next code', async (t) => {
  const faulty = await startOnDisk(t)
  const { server, disk, value } = faulty
  const [kernel = '', other = '', third = ''] = await faulty.create(3)
  await server.api.run(
    other,
    'import threading; threading.Timer(3, lambda: print("later", flush=True)).start()',
  )
  const start = (code: string, codeId: string) => server.api.run(kernel, code, { prefer: 'wait=0' }, codeId)
  await start('import time; time.sleep(6)', 'long')
  await start('open("cancelled", "w")', 'waiting')
  disk.fill()
  for (const each of [third, other]) await untilRefused(faulty, each, 'x = 1')
  const cancelled = await server.api.call('POST', `/v1/kernel/${kernel}/executions/waiting/interrupt`)
  assert.equal(cancelled.status, 204)
  // What is printed now belongs to no code.
  await new Promise((resolve) => setTimeout(resolve, 3500))
  assert.equal((await server.api.call('POST', `/v1/kernel/${other}`, { code: '1' })).status, 503)
  disk.empty()
  await until(async () => (await faulty.readiness()) === 200)
  assert.equal((await server.api.run(other, '1')).stdout, 'later\n')
  // Records that could not be written are, once a second.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  await server.end('SIGKILL')
  await server.start()
  assert.equal(await value(kernel, 'import os; os.path.exists("cancelled")'), 'False')
})

test('a disk that can only be read: the same, sessions can be ended, and a start says what is wrong', async (t) => {
  const faulty = await startOnDisk(t)
  const { server, disk } = faulty
  const [kernel = '', other = ''] = await faulty.create(2)
  await faulty.count(other)
  disk.fail()
  const { problem } = await untilRefused(faulty, kernel, 'x')
  assert.equal(problem.code, 'not-recorded')
  assert.equal((await server.api.call('POST', '/v1/kernel/create', { lang: 'python3' })).status, 503)
  assert.equal(await faulty.readiness(), 503)
  assert.equal(await faulty.counted(other), COUNTED)
  for (const each of [kernel, other]) await server.api.destroy(each)
  assert.equal(server.footprint().processes, 0)
  // It cannot take its name away.
  assert.equal(await server.end('SIGINT'), 1)
  await assert.rejects(server.start(), /read-only file system/i)
})

test('a database that another program keeps locked: keys are refused at once, sessions go on, and what became of them is written then', async (t) => {
  const faulty = await startFaulty(t)
  const { server, value } = faulty
  const [kernel = '', other = ''] = await faulty.create(2)
  await server.api.run(kernel, 'x = 41')
  await faulty.count(other)
  const db = new DatabaseSync(path.join(server.dataDir, 'cob.db'))
  db.exec('BEGIN IMMEDIATE')
  try {
    const began = performance.now()
    for (let i = 0; i < 10; i++) {
      const { status, body } = await server.api.call('POST', '/v1/admin/keys', { name: 'locked out' })
      assert.deepEqual([status, body.code], [503, 'not-recorded'])
      assert.match(body.detail, /database is locked/)
      assert.equal(await value(kernel, 'x + 1'), '42')
    }
    await server.api.destroy(await server.api.create())
    // A server that waited as long as SQLite does by itself would have taken most of a minute.
    assert.ok(performance.now() - began < 20_000)
    assert.equal(await faulty.readiness(), 503)
    assert.equal(await faulty.counted(other), COUNTED)
    await server.api.destroy(other)
  } finally {
    db.exec('ROLLBACK')
    db.close()
  }
  await until(async () => (await faulty.readiness()) === 200)
  await until(() => server.recorded(other) === undefined)
  assert.equal((await server.api.gone(other)).reason, 'user-requested')
  assert.equal(await value(kernel, 'x + 1'), '42')
  await until(async () => {
    const { body } = await server.api.call<{ entries: AuditEntry[] }>('GET', '/v1/admin/audit')
    return body.entries.some(({ action, target }) => action === 'session.end' && target === other)
  })
})

test('a damaged database: no answer is a wrong one, a start is refused, and with a backup the sessions go on', async (t) => {
  const faulty = await startFaulty(t)
  const { server, value } = faulty
  const file = path.join(server.dataDir, 'cob.db')
  const [kernel = '', other = ''] = await faulty.create(2)
  await server.api.run(kernel, 'x = 41')
  // As docs/operations.md has it.
  const db = new DatabaseSync(file)
  db.exec(`VACUUM INTO '${file}.backup'`)
  db.close()
  // These ask again and again whether their key is still good.
  const terminal = await openTerminal(server, kernel)
  const looked = new AbortController()
  const { events } = await runEvents(
    { ...server, kernel: other },
    'import time; time.sleep(100)',
    looked.signal,
  )
  await events.next()
  for (const each of [file, `${file}-wal`]) damage(each)
  // Has the keys looked up anew.
  const made = await server.api.call('POST', '/v1/admin/keys', { name: 'lost' })
  assert.ok(made.status === 201 || made.status === 503, String(made.status))
  const refused = await Promise.all(
    Array.from({ length: 150 }, () => server.api.call('GET', `/v1/kernel/${kernel}`)),
  )
  for (const { status } of refused) assert.ok(status === 200 || status === 503, String(status))
  for (let i = 0; i < 20; i++) {
    const { status, body } = await server.api.call<{ code?: string; result?: { value: unknown } }>(
      'POST',
      `/v1/kernel/${kernel}`,
      { code: 'x + 1' },
    )
    if (status === 200) assert.deepEqual(body.result?.value, { 'text/plain': '42' })
    else assert.deepEqual([status, body.code], [503, 'not-recorded'])
  }
  terminal.close()
  looked.abort()
  await server.end('SIGKILL')
  await assert.rejects(server.start(), /cob\.db cannot be used: .*Restore it from a backup/)
  for (const each of [`${file}-wal`, `${file}-shm`]) rmSync(each, { force: true })
  copyFileSync(`${file}.backup`, file)
  await server.start()
  assert.equal(await value(kernel, 'x + 1'), '42')
})

test('a damaged record of a session: the others go on, and nothing of that one is left', async (t) => {
  const { server, create, value } = await startFaulty(t)
  const [damaged = '', other = ''] = await create(2)
  await server.api.run(other, 'x = 41')
  await server.end('SIGKILL')
  const folder = path.join(server.dataDir, 'sessions')
  for (const name of readdirSync(folder)) {
    const text = readFileSync(path.join(folder, name), 'utf8')
    writeFileSync(
      path.join(folder, name),
      text.replace(`["${damaged}","session",`, `["${damaged}","session";`),
    )
  }
  await server.start()
  assert.equal(await value(other, 'x + 1'), '42')
  assert.equal((await server.api.call('GET', `/v1/kernel/${damaged}`)).status, 404)
  await server.api.destroy(other)
  assert.equal(server.footprint().processes, 0)
})

test('no descriptor left: sessions that are there answer, new ones are refused, and nothing is lost', async (t) => {
  const faulty = await startFaulty(t, { COB_LOG_LEVEL: 'warn' })
  const { server, value } = faulty
  const [kernel = '', adopted = ''] = await faulty.create(2)
  await server.api.run(kernel, 'x = 41')
  // One that this server has not started itself, which is looked after in another way.
  await server.end('SIGKILL')
  await server.start()
  const other = await server.api.create()
  await faulty.count(other)
  const allow = (count: number): unknown =>
    execFileSync('prlimit', [`--nofile=${count}:`, '--pid', String(serverPid(server))])
  const open = new Set(readdirSync(`/proc/${serverPid(server)}/fd`).map(Number))
  const firstFree = Array.from({ length: open.size + 1 }, (_, fd) => fd).find((fd) => !open.has(fd)) ?? 0
  allow(firstFree)
  try {
    const refused = await server.api.call('POST', '/v1/kernel/create', { lang: 'python3' })
    assert.deepEqual([refused.status, refused.body.code], [503, 'kernel-start-failed'])
    // So often that what was recorded before is left out.
    for (let i = 0; i < 500; i++) assert.equal(await value(kernel, 'x + 1'), '42')
    // Long enough for everything that is done at intervals.
    assert.equal(await faulty.counted(other), COUNTED)
    await until(() => server.log().includes('EMFILE'))
  } finally {
    allow(1000)
  }
  assert.equal(await value(await server.api.create(), '6 * 7'), '42')
  for (const each of [kernel, other, adopted]) assert.equal(await value(each, '6 * 7'), '42')
})

test('more connections than descriptors: those that are too many are closed, and the rest works', async (t) => {
  // A sandbox takes half of these for a moment, a file each that is put into it.
  const DESCRIPTORS = 400
  const faulty = await startFaulty(t, {}, ['prlimit', `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`])
  const { url, key } = faulty.server
  // Was there before, and is kept.
  const connection = new Pool(url, { connections: 1 })
  t.after(() => connection.close())
  const post = async (where: string, body: object): Promise<unknown> => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const request = { method: 'POST', path: where, headers, body: JSON.stringify(body) } as const
    return (await connection.request(request)).body.json()
  }
  const create = async (): Promise<string> => {
    const created = (await post('/v1/kernel/create', { lang: 'python3' })) as { kernelId: string }
    return `/v1/kernel/${created.kernelId}`
  }
  const first = await create()
  const { port } = new URL(url)
  const sockets = Array.from({ length: 2 * DESCRIPTORS }, () =>
    connect(Number(port), '127.0.0.1').on('error', () => {}),
  )
  await until(() => sockets.filter(({ closed }) => closed).length > DESCRIPTORS)
  for (const kernel of [first, await create()]) {
    const { result } = (await post(kernel, { code: '6 * 7' })) as { result: RunResult }
    assert.equal(result.value?.['text/plain'], '42')
  }
  for (const socket of sockets) socket.destroy()
})

test('bubblewrap is removed: sessions go on, new ones are refused, and come when it is there again', async (t) => {
  // The program is there for everybody else: /usr/bin of this server alone is another one.
  const place = mkdtempSync(path.join(tmpdir(), 'cob-bin-'))
  execFileSync('mount', ['-t', 'tmpfs', 'cob-bin', place])
  t.after(() => {
    execFileSync('umount', ['-l', place])
    rmdirSync(place)
  })
  const overlay = `mkdir ${place}/upper ${place}/work && mount -t overlay -o lowerdir=/usr/bin,upperdir=${place}/upper,workdir=${place}/work overlay /usr/bin && exec "$@"`
  const faulty = await startFaulty(t, {}, ['unshare', '--mount', 'sh', '-c', overlay, 'sh'])
  const { server, value } = faulty
  const inside = (command: string): unknown =>
    execFileSync('nsenter', ['-m', '-t', String(serverPid(server)), 'sh', '-c', command])
  const kernel = await server.api.create()
  await server.api.run(kernel, 'x = 41')
  inside('mv /usr/bin/bwrap /usr/bin/bwrap-away')
  const refused = await server.api.call('POST', '/v1/kernel/create', { lang: 'python3' })
  assert.deepEqual([refused.status, refused.body.code], [503, 'kernel-start-failed'])
  await until(() => /bwrap.*ENOENT/.test(server.log()))
  assert.equal(await value(kernel, 'x + 1'), '42')
  assert.equal((await server.api.call('PATCH', `/v1/kernel/${kernel}`)).status, 204)
  inside('mv /usr/bin/bwrap-away /usr/bin/bwrap')
  assert.equal(await value(await server.api.create(), '6 * 7'), '42')
})

test("an agent's socket is removed: code goes on, files and terminals are refused, and the next server ends the session", async (t) => {
  const faulty = await startFaulty(t)
  const { server, value } = faulty
  const [kernel = '', other = ''] = await faulty.create(2)
  await server.api.run(kernel, 'x = 41\nopen("file", "w").write("kept")')
  rmSync(path.join(server.dataDir, 'run', `${recordOf(server, kernel).id}.sock`))
  assert.equal(await value(kernel, 'x + 1'), '42')
  const { status, body } = await server.api.call('GET', `/v1/kernel/${kernel}/files/file`)
  assert.deepEqual([status, body.code], [503, 'transfer-broken'])
  const { closed } = await openTerminal(server, kernel)
  assert.deepEqual(await closed, { code: 1001, reason: 'there is no shell' })
  assert.equal((await server.api.call('PATCH', `/v1/kernel/${kernel}`)).status, 204)
  assert.equal(await value(kernel, 'open("file").read()'), "'kept'")
  await server.end('SIGKILL')
  await server.start()
  assert.equal((await server.api.gone(kernel)).reason, 'crashed')
  assert.equal(await value(other, '6 * 7'), '42')
})

test('a cgroup is emptied and removed: its session has no limits any more, and ends', async (t) => {
  const faulty = await startFaulty(t)
  const { server, value } = faulty
  const [kernel = '', other = ''] = await faulty.create(2)
  const { cgroups, inner } = recordOf(server, kernel)
  for (const { dir } of cgroups) {
    // The hierarchy's own group.
    const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers')
    const top = isV2 ? '/sys/fs/cgroup' : dir.slice(0, dir.indexOf('/', '/sys/fs/cgroup/'.length))
    try {
      for (const pid of readFileSync(`${dir}/cgroup.procs`, 'utf8').split('\n').filter(Boolean))
        writeFileSync(`${top}/cgroup.procs`, pid)
      rmdirSync(dir)
    } catch (error) {
      // The server may have seen the first one go, and be ending the session.
      assert.match(String(error), /ENOENT|ESRCH/)
    }
  }
  assert.equal((await server.api.gone(kernel)).reason, 'crashed')
  await until(() => server.log().includes('its cgroup was removed'))
  await until(() => !isAlive(inner.pid))
  assert.equal(await value(other, '6 * 7'), '42')
  const { processes, cgroups: left } = server.footprint()
  assert.ok(processes > 0)
  assert.equal(left, recordOf(server, other).cgroups.length)
})

test('a log that cannot be written stops nothing', async (t) => {
  const faulty = await startFaulty(t, { COB_LOG_LEVEL: 'debug' }, ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh'])
  const kernel = await faulty.server.api.create()
  assert.equal(await faulty.value(kernel, '6 * 7'), '42')
})

/** Every byte of a file is another one. */
function damage(file: string): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.alloc(statSync(file).size, 0x5a))
  closeSync(descriptor)
}

function recordOf(server: RestartingServer, kernel: string): RecordedSandbox {
  const recorded = server.recorded(kernel)
  assert.ok(recorded)
  return recorded
}

function serverPid({ dataDir }: RestartingServer): number {
  return JSON.parse(readFileSync(path.join(dataDir, 'server.json'), 'utf8')).pid
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
