import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { createApiClient } from '../support/api-client.ts'
import { footprint } from '../support/footprint.ts'
import { type ServerProcess, startServerProcess } from '../support/server-process.ts'
import { until } from '../support/until.ts'

const COB = path.resolve(import.meta.dirname, '../../packages/cli/bin/cob.mjs')
const PYTHON = '/usr/bin/python3'
const folder = mkdtempSync(path.join(tmpdir(), 'cob-cli-stop-'))
const dataDir = path.join(folder, 'data')
const temporary = path.join(folder, 'tmp')
mkdirSync(temporary)
writeFileSync(path.join(folder, 'endless.py'), 'import time\nwhile True: print("tick"); time.sleep(0.05)\n')

let server: ServerProcess
before(async () => {
  server = await startServerProcess(dataDir)
})
after(async () => {
  await server.end('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
})

interface Started {
  readonly child: ChildProcess
  readonly errors: () => string
  /** Resolves when standard output holds the text. */
  printed(text: string): Promise<void>
  /** Resolves when standard error holds the text. */
  said(text: string): Promise<void>
  readonly ended: Promise<number | NodeJS.Signals | null>
}

function start(program: string, args: readonly string[], environment: Record<string, string> = {}): Started {
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    TMPDIR: temporary,
    COB_DATA_DIR: dataDir,
    ...environment,
  }
  const child = spawn(program, args, { cwd: folder, env })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const ended = once(child, 'exit').then(([status, signal]) => status ?? signal)
  const shows = async (stream: Readable, isThere: () => boolean): Promise<void> => {
    while (!isThere()) {
      await Promise.race([
        once(stream, 'data'),
        ended.then((status) => assert.fail(`ended with ${status} too early: ${output}${errors}`)),
      ])
    }
  }
  return {
    child,
    errors: () => errors,
    printed: (text) => shows(child.stdout, () => output.includes(text)),
    said: (text) => shows(child.stderr, () => errors.includes(text)),
    ended,
  }
}

async function liveKernels(): Promise<number> {
  const api = createApiClient(server.url, server.key)
  return (await api.call<{ kernels: unknown[] }>('GET', '/v1/kernels')).body.kernels.length
}

test('ctrl-C during a run destroys its kernel and ends with status 130', async () => {
  const run = start(process.execPath, [COB, 'run', 'python3', 'endless.py'])
  await run.printed('tick')
  assert.equal(await liveKernels(), 1)
  run.child.kill('SIGINT')
  assert.equal(await run.ended, 130)
  assert.match(run.errors(), /^Traceback[\s\S]*KeyboardInterrupt\n$/)
  assert.equal(await liveKernels(), 0)
})

test('a reader that goes away ends the run and its kernel', async () => {
  const run = start(process.execPath, [COB, 'run', 'python3', 'endless.py'])
  await run.printed('tick')
  run.child.stdout?.destroy()
  assert.equal(await run.ended, 141)
  assert.equal(run.errors(), 'cob: standard output is closed; stopped.\n')
  assert.equal(await liveKernels(), 0)
})

test('a run that has a server of its own leaves nothing when it is stopped', async () => {
  const run = start(process.execPath, [COB, 'run', 'python3', 'endless.py'], {
    COB_DATA_DIR: path.join(folder, 'nobody'),
  })
  await run.printed('tick')
  assert.equal(readdirSync(temporary).length, 1)
  run.child.kill('SIGTERM')
  assert.equal(await run.ended, 143)
  assert.deepEqual(readdirSync(temporary), [])
})

test('a run that has a server of its own takes its sandbox along when it is killed', {
  timeout: 60_000,
}, async () => {
  const run = start(process.execPath, [COB, 'run', 'python3', 'endless.py'], {
    COB_DATA_DIR: path.join(folder, 'nobody'),
  })
  await run.printed('tick')
  const own = path.join(temporary, readdirSync(temporary)[0] ?? assert.fail('no data folder'))
  const processes = (): number => footprint(own, process.pid).processes
  assert.ok(processes() >= 2)
  run.child.kill('SIGKILL')
  assert.equal(await run.ended, 'SIGKILL')
  await until(() => processes() === 0)
  rmSync(own, { recursive: true })
})

test('the server ends in order when its terminal is closed, and when one ctrl-C arrives twice', async () => {
  const environment = { COB_DATA_DIR: path.join(folder, 'another'), COB_PORT: '0', COB_LOG_LEVEL: 'error' }
  for (const signals of [['SIGHUP'], ['SIGINT', 'SIGINT'], ['SIGTERM', 'SIGTERM']] as const) {
    const serve = start(process.execPath, [COB, 'serve'], environment)
    await serve.printed('6 * 7')
    const isEnding = serve.said('ending sessions')
    serve.child.kill(signals[0])
    await isEnding
    // As npm passes on what the terminal has sent already.
    if (signals[1]) serve.child.kill(signals[1])
    assert.equal(await serve.ended, 0, signals.join())
  }
})

/** Runs its arguments on a terminal. Waits for each text, then types what belongs to it; ends as the program did. */
const ON_TERMINAL = `
import json, os, pty, sys
steps = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = ''
while True:
    try:
        data = os.read(terminal, 65536).decode()
    except OSError:
        break
    sys.stdout.write(data)
    sys.stdout.flush()
    seen += data
    if steps and steps[0][0] in seen:
        os.write(terminal, steps.pop(0)[1].encode())
        seen = ''
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

test('on a terminal a line can be edited, a password does not show, and ctrl-C still works afterwards', async () => {
  writeFileSync(
    path.join(folder, 'asks.py'),
    'import getpass, time\nname = input("Name? ")\nsecret = getpass.getpass("Secret? ")\nprint(f"<{name}> {len(secret)}", flush=True)\ntime.sleep(60)\n',
  )
  const steps = [
    ['Name? ', 'Anx\x7fn\r'],
    ['Secret? ', 'hunter2\r'],
    ['<Ann> 7', '\x03'],
  ]
  const run = start(PYTHON, [
    ...['-c', ON_TERMINAL, JSON.stringify(steps)],
    ...[process.execPath, COB, 'run', 'python3', 'asks.py'],
  ])
  let screen = ''
  run.child.stdout?.on('data', (text: string) => {
    screen += text
  })
  assert.equal(await run.ended, 130, screen)
  assert.match(screen, /<Ann> 7/)
  assert.doesNotMatch(screen, /hunter2/)
  assert.equal(await liveKernels(), 0)
})
