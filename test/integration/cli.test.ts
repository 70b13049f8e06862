import assert from 'node:assert/strict'
import { type ExecFileException, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { type ServerProcess, startServerProcess } from '../support/server-process.ts'
import { until } from '../support/until.ts'

const COB = path.resolve(import.meta.dirname, '../../packages/cli/bin/cob.mjs')
const folder = mkdtempSync(path.join(tmpdir(), 'cob-cli-'))
const dataDir = path.join(folder, 'data')

let server: ServerProcess
before(async () => {
  server = await startServerProcess(dataDir)
})
after(async () => {
  assert.equal(await server.end('SIGTERM'), 0)
  assert.equal(existsSync(path.join(dataDir, 'server.json')), false)
  rmSync(folder, { recursive: true, force: true })
})

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

function cob(args: readonly string[], input = '', environment: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const env = { PATH: process.env.PATH, HOME: folder, COB_DATA_DIR: dataDir, ...environment }
    const ended = (error: ExecFileException | null, stdout: string, stderr: string): void =>
      resolve({ status: Number(error?.code ?? 0), stdout, stderr })
    execFile(process.execPath, [COB, ...args], { cwd: folder, env }, ended).stdin?.end(input)
  })
}

test('the server keeps its first key and its address to itself, and writes server.json', () => {
  for (const name of ['bootstrap-key', 'server.json', 'cob.db', 'master-key']) {
    assert.equal(statSync(path.join(dataDir, name)).mode & 0o777, 0o600, name)
  }
  assert.equal(readFileSync(path.join(dataDir, 'bootstrap-key'), 'utf8'), `${server.key}\n`)
  const info = JSON.parse(readFileSync(path.join(dataDir, 'server.json'), 'utf8'))
  assert.deepEqual([info.url, info.pid], [server.url, server.pid])
  assert.ok(!Number.isNaN(Date.parse(info.startedAt)))
})

test('the request that the server prints can be pasted', async () => {
  const pasted = server.output().slice(server.output().indexOf('KERNEL='))
  const { stdout } = await new Promise<Ended>((resolve) => {
    execFile('/bin/sh', ['-c', pasted], (error, out, err) =>
      resolve({ status: error ? 1 : 0, stdout: out, stderr: err }),
    )
  })
  const { result } = JSON.parse(stdout)
  assert.deepEqual([result.stdout, result.value], ['Hello, world!\n', { 'text/plain': '42' }])
})

test('cob run plots, asks for input, prints the exception and ends with status 1', async () => {
  writeFileSync(
    path.join(folder, 'program.py'),
    'import matplotlib.pyplot as plt\nprint("plotting")\nplt.plot([1, 2])\nplt.show()\nname = input("Name? ")\nprint("hello", name)\nraise ValueError("the end")\n',
  )
  const { status, stdout, stderr } = await cob(['run', 'python3', 'program.py', '--out', 'images'], 'Ann\n')
  assert.equal(status, 1)
  assert.equal(stdout, 'plotting\nhello Ann\n')
  assert.match(stderr, /image\/png saved as images\/cob-1\.png/)
  assert.match(stderr, /Name\? /)
  assert.match(stderr, /ValueError: the end/)
  assert.deepEqual(
    [...readFileSync(path.join(folder, 'images/cob-1.png')).subarray(1, 4)],
    [...Buffer.from('PNG')],
  )
  const api = createApiClient(server.url, server.key)
  const { body } = await api.call<{ kernels: { lang: string; numQueriesExecuted: number }[] }>(
    'GET',
    '/v1/kernels',
  )
  assert.equal(body.kernels.length, 1, 'only the pasted one is left')
})

test('cob run takes a program from standard input, streams, and ends with status 0', async () => {
  const { status, stdout } = await cob(
    ['run', 'python3', '--value'],
    'import sys, time\nfor i in range(3): print(i); time.sleep(0.6)\nprint("e", file=sys.stderr)\ni * 21',
  )
  assert.deepEqual([status, stdout], [0, '0\n1\n2\n42\n'])
})

test('cob run shows pictures as COB_IMAGES says', async () => {
  const code =
    'from base64 import b64decode\nclass Picture:\n    def _repr_png_(self): return b64decode("iVBORw0KGgo=")\nPicture()'
  const { status, stdout, stderr } = await cob(['run', 'python3', '--value'], code, { COB_IMAGES: 'iterm2' })
  assert.deepEqual([status, stdout, stderr], [0, '\x1b]1337;File=inline=1;size=8:iVBORw0KGgo=\x07\n', ''])
  const wrong = await cob(['run', 'python3'], code, { COB_IMAGES: 'paper' })
  assert.deepEqual([wrong.status, /takes one of kitty, iterm2, sixel, file/.test(wrong.stderr)], [2, true])
})

test('cob run without a server starts one for itself and leaves nothing', async () => {
  const { status, stdout } = await cob(['run', 'python3', '-'], 'print(6 * 7)', {
    COB_DATA_DIR: path.join(folder, 'nobody'),
  })
  assert.deepEqual([status, stdout], [0, '42\n'])
})

test('mistakes are told in a line, with what to do', async () => {
  const expect = async (
    args: readonly string[],
    status: number,
    message: RegExp,
    input = '',
  ): Promise<void> => {
    const ended = await cob(args, input)
    assert.equal(ended.status, status, ended.stderr)
    assert.match(ended.stderr, message)
    assert.doesNotMatch(ended.stderr, /^\s+at /m)
  }
  await expect(['run', 'pyton', '-'], 1, /no kernel type "pyton". Known: .*python3/)
  await expect(['run', 'python3', 'missing.py'], 2, /missing\.py cannot be read/)
  await expect(['run', import.meta.filename], 2, /is a file\. Say what runs it/)
  await expect(
    ['run', 'python3', '--out', '/proc/no'],
    2,
    /--out \/proc\/no cannot be used/,
    'open("ran", "w")',
  )
  await expect(['run', 'python3', '--memory', 'much'], 2, /"much" is not a whole number/)
  await expect(['run', 'python3', '--memory', '999999999'], 1, /allows at most/, '1')
  await expect(['kernels', 'info', 'nonsense'], 1, /"nonsense" is not a kernel id/)
  await expect(['kernels', 'list', '--url', 'http://127.0.0.1:1'], 3, /does not answer/)
  await expect(['keys', 'disable', 'AKNOBODY'], 1, /no key "AKNOBODY"/)
  await expect(['frobnicate'], 2, /unknown command/)
  await expect(['serve'], 1, /Another server uses the data folder/)
  const unknown = await cob(['serve'], '', { COB_PROT: '1' })
  assert.deepEqual([unknown.status, /COB_PROT\. Did you mean COB_PORT\?/.test(unknown.stderr)], [2, true])
})

test('every command has help with what it takes', async () => {
  for (const args of [
    [],
    ['serve'],
    ['run'],
    ['shell'],
    ['term'],
    ['cp'],
    ['keys'],
    ['keys', 'create'],
    ['keys', 'list'],
    ['keys', 'disable'],
    ['keys', 'show'],
    ['keys', 'set'],
    ['keys', 'enable'],
    ['keys', 'rotate'],
    ['usage'],
    ['audit'],
    ['sessions'],
    ['sessions', 'end'],
    ['drain'],
    ['kernels'],
    ['kernels', 'list'],
    ['kernels', 'info'],
    ['kernels', 'restart'],
    ['kernels', 'destroy'],
  ]) {
    const { status, stdout } = await cob([...args, '--help'])
    assert.equal(status, 0, args.join(' '))
    assert.match(stdout, /^Usage: cob/)
  }
})

test('cob doctor tells what holds, while a server runs and for other settings', async () => {
  const { status, stdout } = await cob(['doctor', '--json'])
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { name: string; ok: boolean }[] }
  assert.deepEqual([status, ok, checks.filter((check) => !check.ok)], [0, true, []])
  assert.equal(new Set(checks.map(({ name }) => name)).size, checks.length)
  const table = await cob(['doctor'], '', { COB_MAX_PROCESSES: '8', COB_NETWORK: 'egress' })
  assert.equal(table.status, 0)
  assert.match(table.stdout, /^ok {4}fork bomb +stops at [1-6] children$/m)
  assert.match(table.stdout, /^ok {4}network, egress +lo, tap0;/m)
})

test('keys are made, listed without secrets, and disabled at once', async () => {
  const made = JSON.parse((await cob(['keys', 'create', 'for the test', '--json'])).stdout)
  const api = createApiClient(server.url, `${made.accessKey}:${made.secretKey}`)
  assert.equal((await api.call('GET', '/v1/kernels')).status, 200)
  const listed = await cob(['keys', 'list', '--json'])
  assert.doesNotMatch(listed.stdout, new RegExp(made.secretKey))
  assert.equal(
    JSON.parse(listed.stdout).keys.find((key: { accessKey: string }) => key.accessKey === made.accessKey)
      .name,
    'for the test',
  )
  assert.match((await cob(['keys', 'disable', made.accessKey])).stdout, /is disabled/)
  assert.equal((await api.call('GET', '/v1/kernels')).status, 401)
})

test('a key can be made before the first start of a server', async () => {
  const environment = { COB_DATA_DIR: path.join(folder, 'fresh') }
  const { status, stdout } = await cob(['keys', 'create', '--network', 'egress', 'early'], '', environment)
  assert.equal(status, 0)
  assert.match(stdout, /^AK[0-9A-F]{20}:\S+\n$/)
  assert.match((await cob(['keys', 'list'], '', environment)).stdout, /early +user +egress/)
  const mistaken = await cob(['keys', 'create', '--network', 'all'], '', environment)
  assert.deepEqual([mistaken.status, /Allowed choices are none, egress/.test(mistaken.stderr)], [2, true])
  const refused = await cob(['keys', 'create', '--kernels', '0'], '', environment)
  assert.deepEqual([refused.status, /limits\.maxKernels/.test(refused.stderr)], [1, true])
  assert.equal(statSync(path.join(folder, 'fresh')).mode & 0o777, 0o700)
})

test('a key is limited, shown, rotated and enabled again through the server that runs', async () => {
  const made = JSON.parse(
    (await cob(['keys', 'create', 'limited', '--kernels', '1', '--langs', 'python3,bash', '--json'])).stdout,
  )
  const name = made.accessKey
  assert.deepEqual([made.limits.maxKernels, made.limits.langs], [1, ['python3', 'bash']])
  const set = await cob([
    'keys',
    'set',
    name,
    '--kernels',
    'default',
    '--memory',
    '200000',
    '--role',
    'admin',
    '--expires',
    '2099-01-01',
  ])
  assert.match(set.stdout, /^role +admin$/m)
  assert.match(set.stdout, /^maxKernels +-$/m)
  assert.match(set.stdout, /^expiresAt +2099-01-01T00:00:00\.000Z$/m)
  assert.match((await cob(['keys', 'show', name])).stdout, /^memoryKb +0$/m, 'what a server knows')
  const rotated = await cob(['keys', 'rotate', name, '--overlap', '0'])
  assert.match(rotated.stdout, new RegExp(`^${name}:\\S+\n$`))
  const statusOf = async (key: string): Promise<number> =>
    (await createApiClient(server.url, key).call('GET', '/v1/kernels')).status
  assert.deepEqual(
    [await statusOf(rotated.stdout.trim()), await statusOf(`${name}:${made.secretKey}`)],
    [200, 401],
  )
  await cob(['keys', 'disable', name])
  assert.equal(await statusOf(rotated.stdout.trim()), 401)
  await cob(['keys', 'enable', name])
  assert.equal(await statusOf(rotated.stdout.trim()), 200)
  assert.match((await cob(['audit', '--of', name])).stdout, /key\.enable +AK\S+ +\S+ +ok/)
  const mistaken = await cob(['keys', 'set', name, '--expires', 'soon'])
  assert.deepEqual([mistaken.status, /"soon" is not a time/.test(mistaken.stderr)], [2, true])
})

test('the first key may be rotated, and the command goes on with its new secret', async () => {
  const [accessKey = ''] = server.key.split(':')
  const rotated = await cob(['keys', 'rotate', accessKey])
  assert.match(rotated.stderr, /The old secret is valid until/)
  assert.equal(readFileSync(path.join(dataDir, 'bootstrap-key'), 'utf8'), rotated.stdout)
  assert.equal((await cob(['kernels', 'list'])).status, 0)
})

test("everybody's sessions are listed and ended, and what they used is told", async () => {
  const made = JSON.parse((await cob(['keys', 'create', 'used', '--json'])).stdout)
  const api = createApiClient(server.url, `${made.accessKey}:${made.secretKey}`)
  const id = await api.create()
  assert.match((await cob(['sessions'])).stdout, new RegExp(`${id} +${made.accessKey} +python3`))
  assert.match((await cob(['sessions', 'end', id])).stdout, /has ended/)
  const csv = await cob(['usage', '--of', made.accessKey, '--csv'])
  assert.match(csv.stdout, new RegExp(`^accessKey,sessions,.*\r\n${made.accessKey},1,`))
  assert.match(
    (await cob(['usage', '--of', made.accessKey, '--sessions'])).stdout,
    new RegExp(`${id} +${made.accessKey}`),
  )
  assert.equal(JSON.parse((await cob(['usage', '--to', '2020-01-01', '--json'])).stdout).keys.length, 0)
})

test('a drain is begun, told and undone', async () => {
  assert.match((await cob(['drain'])).stdout, /No new sessions; \d+ are left|none is left/)
  assert.match((await cob(['run', 'python3'], '1')).stderr, /takes no new kernels/)
  assert.match((await cob(['drain', '--status'])).stdout, /No new sessions/)
  assert.match((await cob(['drain', '--undo'])).stdout, /takes new sessions/)
})

test("a server that is drained to stop ends by itself, with status 0; the folder's keys are there without it", async () => {
  const own = path.join(folder, 'drained')
  const ending = await startServerProcess(own)
  const environment = { COB_DATA_DIR: own }
  const ended = await cob(['drain', '--stop', '--wait'], '', environment)
  assert.equal(ended.status, 0, ended.stderr)
  assert.equal(await ending.exited, 0)
  const [accessKey = ''] = ending.key.split(':')
  assert.match((await cob(['keys', 'list'], '', environment)).stdout, new RegExp(accessKey))
  const refused = await cob(['keys', 'disable', accessKey], '', environment)
  assert.deepEqual([refused.status, /only valid one with the role admin/.test(refused.stderr)], [1, true])
  const audit = JSON.parse((await cob(['audit', '--json'], '', environment)).stdout).entries
  assert.deepEqual(
    audit.map(({ who, action, outcome }: Record<string, string>) => [who, action, outcome]),
    [
      ['cob', 'key.disable', 'last-admin'],
      [accessKey, 'server.drain', 'ok'],
    ],
  )
  const wrong = await cob(['keys', 'list'], '', { ...environment, COB_MASTER_KEY: 'ab'.repeat(32) })
  assert.deepEqual([wrong.status, /COB_MASTER_KEY is not the master key/.test(wrong.stderr)], [1, true])
})

test('no secret of the command line stands in the list of processes', async () => {
  const secret = 'a-secret-on-the-command-line'
  const running = spawn(
    process.execPath,
    [COB, 'run', 'python3', '--key', `AKNOBODY:${secret}`, '--url', server.url],
    {
      env: { PATH: process.env.PATH, HOME: folder },
      stdio: ['pipe', 'ignore', 'pipe'],
    },
  )
  const isShown = (): boolean => readFileSync(`/proc/${running.pid}/cmdline`, 'utf8').includes(secret)
  await until(() => !isShown())
  running.stdin.end('1')
  const [status] = await once(running, 'exit')
  assert.equal(status, 1)
})

test('kernels are listed, shown, restarted and destroyed', async () => {
  const api = createApiClient(server.url, server.key)
  const id = await api.create({ clientSessionToken: 'from the command' })
  assert.match((await cob(['kernels', 'list'])).stdout, new RegExp(`${id} +python3 +idle.*from the command`))
  assert.equal(JSON.parse((await cob(['kernels', 'info', id, '--json'])).stdout).kernelId, id)
  assert.match((await cob(['kernels', 'info', id])).stdout, /^maxMem +524288$/m)
  await api.run(id, 'x = 1')
  assert.match((await cob(['kernels', 'restart', id])).stdout, /restarted/)
  assert.equal((await api.run(id, 'x')).exceptions[0]?.[0], 'NameError')
  assert.match((await cob(['kernels', 'destroy', id])).stdout, /destroyed/)
  assert.equal((await api.gone(id)).reason, 'user-requested')
})

test('cob shell keeps variables, goes on where a line is not finished, asks, shows values, and leaves at the end', async () => {
  const { status, stdout, stderr } = await cob(
    ['shell', 'python3'],
    'x = 6\ndef double(n):\n    return 2 * n\n\ndouble(x) + (\n30)\nname = input("Who? ")\nAda\nname\n1/0\nprint("on")\n',
  )
  assert.equal(status, 0)
  assert.equal(stdout, "42\n'Ada'\non\n")
  assert.match(stderr, /Who\? /)
  assert.match(stderr, /ZeroDivisionError: division by zero/)
})

test('cob run and cob shell speak other languages', async () => {
  const run = await cob(['run', 'nodejs'], 'console.log(await Promise.resolve(6) * 7)')
  assert.deepEqual([run.status, run.stdout], [0, '42\n'])
  const c = await cob(['run', 'c'], 'int main(void) { return 3; }')
  assert.deepEqual([c.status, c.stderr], [1, 'ExitError: exit status 3\n'])
})

test('cob cp copies files and folders both ways', async () => {
  const api = createApiClient(server.url, server.key)
  const kernel = await api.create()
  mkdirSync(path.join(folder, 'up/deep'), { recursive: true })
  writeFileSync(path.join(folder, 'up/a.txt'), 'a')
  writeFileSync(path.join(folder, 'up/deep/b.bin'), Buffer.alloc(300_000, 7))
  assert.equal((await cob(['cp', 'up', `${kernel}:there`])).status, 0)
  assert.equal((await cob(['cp', 'up/a.txt', `${kernel}:c.txt`])).status, 0)
  assert.equal((await cob(['cp', `${kernel}:there`, 'down'])).status, 0)
  assert.equal(readFileSync(path.join(folder, 'down/a.txt'), 'utf8'), 'a')
  assert.deepEqual(readFileSync(path.join(folder, 'down/deep/b.bin')), Buffer.alloc(300_000, 7))
  assert.equal((await cob(['cp', `${kernel}:c.txt`, '-'])).stdout, 'a')
  mkdirSync(path.join(folder, 'up/empty'))
  symlinkSync('a.txt', path.join(folder, 'up/link'))
  const linked = await cob(['cp', 'up', `${kernel}:there`])
  assert.deepEqual([linked.status, linked.stderr], [0, 'cob: left out: up/link is a link\n'])
  for (const to of ['there', 'there/', 'new/', './there/deep/', '.'])
    assert.equal((await cob(['cp', 'up/a.txt', `${kernel}:${to}`])).status, 0, to)
  assert.equal(
    (
      await api.run(
        kernel,
        'import subprocess; print(subprocess.getoutput("find . -printf \'%y %P\\n\' | sort"))',
      )
    ).stdout,
    ['d ', 'd new', 'd there', 'd there/deep', 'd there/empty', 'f a.txt', 'f c.txt', 'f new/a.txt']
      .concat(['f there/a.txt', 'f there/deep/a.txt', 'f there/deep/b.bin', ''])
      .join('\n'),
  )
  const archive = await cob(['cp', `${kernel}:new`, '-'])
  assert.deepEqual(
    [archive.status, archive.stdout.includes('new/a.txt'), existsSync(path.join(folder, '-'))],
    [0, true, false],
  )
  const above = await cob(['cp', `${kernel}:..`, 'above'])
  assert.deepEqual(
    [above.status, /no steps/.test(above.stderr), existsSync(path.join(folder, 'above'))],
    [2, true, false],
  )
  const wrong = await cob(['cp', `${kernel}:nothing`, '-'])
  assert.deepEqual([wrong.status, /No such file/.test(wrong.stderr)], [1, true])
  assert.equal((await cob(['cp', 'a', 'b'])).status, 2)
  await api.destroy(kernel)
})

test('cob term is a shell in the kernel, until that ends', async () => {
  const api = createApiClient(server.url, server.key)
  const kernel = await api.create()
  const { status, stdout } = await cob(['term', kernel], 'echo $((6 * 7)) > made; exit\n')
  assert.equal(status, 0)
  assert.match(stdout, /exit/)
  assert.equal((await api.run(kernel, 'print(open("made").read())')).stdout, '42\n\n')
  assert.equal((await cob(['term', kernel], 'exit 3\n')).status, 3)
  const unfinished = await cob(['term', kernel], 'echo $((6 * 7))')
  assert.deepEqual([unfinished.status, /^42\r$/m.test(unfinished.stdout)], [0, true])
  await api.destroy(kernel)
})
