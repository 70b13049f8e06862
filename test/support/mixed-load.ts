import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { RunResult } from '@cob/protocol'
import type { ApiClient } from './api-client.ts'
import { collect, runEvents } from './events.ts'
import { openTerminal } from './terminal.ts'

/** What a session under load is, and what it must still know. */
export interface LoadedSession {
  readonly url: string
  readonly key: string
  readonly api: ApiClient
  readonly kernel: string
  /** Of the last `x = ...`; undefined after a restart. */
  x: number | undefined
  readonly random: () => number
}

type Act = (session: LoadedSession) => Promise<void>
const whole = ({ random }: LoadedSession, most: number): number => Math.floor(random() * most)
const run = async ({ api, kernel }: LoadedSession, code: string): Promise<RunResult> => {
  const result = await api.run(kernel, code)
  if (result.status === 'terminated') throw new Error(`the session ended: ${result.reason}`)
  return result
}
const textOf = (result: RunResult): unknown => result.value?.['text/plain']

/** What users do. Each leaves the session able to go on, and throws when an answer is not what it must be. */
export const ORDINARY: Readonly<Record<string, Act>> = {
  async calculate(session) {
    const [a, b] = [whole(session, 1e6), whole(session, 1e6)]
    assert.equal(textOf(await run(session, `${a} * ${b}`)), String(a * b))
  },
  async remember(session) {
    const x = whole(session, 1e9)
    await run(session, `x = ${x}`)
    session.x = x
  },
  async recall(session) {
    const { value, exceptions } = await run(session, 'x')
    if (session.x === undefined) assert.equal(exceptions[0]?.[0], 'NameError')
    else assert.equal(value?.['text/plain'], String(session.x))
  },
  async print(session) {
    const lines = 1 + whole(session, 3000)
    const { stdout } = await run(session, `for i in range(${lines}): print(i, 'ä')`)
    assert.equal(stdout, Array.from({ length: lines }, (_, i) => `${i} ä\n`).join(''))
  },
  async fail(session) {
    assert.equal((await run(session, '1 / 0')).exceptions[0]?.[0], 'ZeroDivisionError')
  },
  async stream(session) {
    const lines = 1 + whole(session, 2000)
    const { events } = await runEvents(session, `for i in range(${lines}): print(i)`)
    const all = await collect(events)
    assert.deepEqual(
      all.map(({ id }) => id),
      all.map((_, index) => index + 1),
    )
    const text = all.map((event) => (event.type === 'stream' ? event.text : '')).join('')
    assert.equal(text, Array.from({ length: lines }, (_, i) => `${i}\n`).join(''))
  },
  async 'go away'(session) {
    const gone = new AbortController()
    const { events } = await runEvents(session, "for i in range(20_000): print('x' * 100)", gone.signal)
    await events.next()
    gone.abort()
    await events.next().catch(() => {})
  },
  async ask(session) {
    const asked = await run(session, 'len(input("? "))')
    assert.equal(asked.status, 'waiting-input')
    const answer = 'a'.repeat(1 + whole(session, 1000))
    assert.equal(textOf(await run(session, answer)), String(answer.length))
  },
  async interrupt(session) {
    // By its name: what ran before, for a client that went away, may run yet.
    const codeId = `loop ${session.random()}`
    const running = session.api.run(session.kernel, 'while True: pass', {}, codeId)
    await delay(20 + whole(session, 100))
    const target = `/v1/kernel/${session.kernel}/executions/${encodeURIComponent(codeId)}/interrupt`
    // The code may come after it, on a machine that is busy.
    let status = 404
    while (status === 404) status = (await session.api.call('POST', target)).status
    assert.equal(status, 204)
    assert.equal((await running).status, 'interrupted')
  },
  async restart(session) {
    const { status } = await session.api.call('PATCH', `/v1/kernel/${session.kernel}`)
    assert.equal(status, 204)
    session.x = undefined
  },
  async file(session) {
    const { url, key, kernel } = session
    const content = Buffer.alloc(1 + whole(session, 300_000), `${session.random()} `)
    const target = `${url}/v1/kernel/${kernel}/files/data/file.bin`
    const headers = { authorization: `Bearer ${key}` }
    const put = await fetch(target, { method: 'PUT', headers, body: content })
    assert.ok(put.status === 201 || put.status === 200, `PUT: ${put.status}`)
    const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
    const got = await fetch(target, { headers })
    assert.equal(digest(new Uint8Array(await got.arrayBuffer())), digest(content))
    const inside = await run(
      session,
      "import hashlib; hashlib.sha256(open('data/file.bin', 'rb').read()).hexdigest()",
    )
    assert.equal(textOf(inside), `'${digest(content)}'`)
  },
  async terminal(session) {
    const terminal = await openTerminal(session, session.kernel)
    const marker = String(whole(session, 1e9))
    terminal.type(`echo ${marker}-$((20 + 3))\r`)
    await terminal.until((lines) => lines.includes(`${marker}-23`))
    terminal.close()
    await terminal.closed
  },
}

/** What ends a session, and the reasons that may be told. */
export const HARMFUL: Readonly<
  Record<string, { readonly code: string; readonly reasons: readonly string[] }>
> = {
  exit: { code: 'import os; os._exit(3)', reasons: ['crashed'] },
  crash: { code: 'import ctypes; ctypes.string_at(0)', reasons: ['crashed'] },
  spin: { code: 'while True: pass', reasons: ['query-timeout'] },
  'ignore signals': {
    code: 'import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: time.sleep(1)',
    reasons: ['query-timeout'],
  },
  memory: { code: "kept = []\nwhile True: kept.append(b'x' * (8 << 20))", reasons: ['out-of-memory'] },
  files: {
    code: "n = 0\nwhile True:\n    n += 1\n    with open(f'/tmp/{n}', 'wb') as file: file.write(b'x' * (1 << 20))",
    reasons: ['out-of-memory', 'crashed', 'query-timeout', 'user-requested'],
  },
  forks: {
    code: 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass',
    reasons: ['query-timeout', 'crashed', 'out-of-memory'],
  },
  flood: { code: "while True: print('x' * 10_000)", reasons: ['query-timeout'] },
  daemon: {
    code: 'import os, time\nif os.fork() == 0:\n    os.setsid()\n    while True: time.sleep(1)\nos.kill(os.getpid(), 9)',
    reasons: ['crashed'],
  },
}

/** mulberry32: numbers in [0, 1) that a seed repeats. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
