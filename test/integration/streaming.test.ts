import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { ExecutionEvent, RunResult } from '@cob/protocol'
import { EventSource } from 'eventsource'
import { collect, type EventsRequest, resumeEvents, runEvents } from '../support/events.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

const newKernel = async (request = {}): Promise<EventsRequest> => ({
  url: server.url,
  key: server.key,
  kernel: await server.create(request),
})
const textOf = (events: readonly ExecutionEvent[], name = 'stdout'): string =>
  events.map((event) => (event.type === 'stream' && event.name === name ? event.text : '')).join('')
const next = async (events: AsyncGenerator<ExecutionEvent>): Promise<ExecutionEvent> => {
  const { value } = await events.next()
  assert.ok(value)
  return value
}

test('events come as they happen, numbered from 1, and the answer to a question goes on', async () => {
  const at = await newKernel()
  // In one piece: print() writes the end of the line apart, which may be another event.
  const code = 'import sys; sys.stdout.write("é😀\\n")\nname = input("Who? ")\nprint("Hello,", name)\n6 * 7'
  const { executionId, events } = await runEvents(at, code)
  const started = await next(events)
  assert.deepEqual(started, { id: 1, type: 'started', executionId, count: 1 })
  assert.deepEqual(await next(events), { id: 2, type: 'stream', name: 'stdout', text: 'é😀\n' })
  const question = await next(events)
  assert.deepEqual(question, { id: 3, type: 'input-request', prompt: 'Who? ', password: false })
  const base = `/v1/kernel/${at.kernel}`
  assert.equal((await server.call('POST', `${base}/input`, { text: 'Ada' })).status, 204)
  const rest = await collect(events)
  assert.equal(textOf(rest), 'Hello, Ada\n')
  assert.deepEqual(
    rest.map(({ id }) => id),
    rest.map((_, index) => index + 4),
  )
  // What print writes in pieces may come in pieces.
  assert.deepEqual([...new Set(rest.map(({ type }) => type))], ['stream', 'result', 'finished'])
  const again = await server.call('POST', `${base}/input`, { text: 'Ada' })
  assert.deepEqual([again.status, again.body.code], [409, 'not-waiting'])
})

test('code posted to a question that a stream showed is its answer, and what follows is the answer to that', async () => {
  const at = await newKernel()
  const { events } = await runEvents(at, 'a = input()\nb = input()\nprint(a, b)')
  await next(events)
  await next(events)
  const { events: more } = await runEvents(at, 'one')
  const second = await next(more)
  assert.deepEqual([second.id, second.type], [3, 'input-request'])
  assert.equal((await server.run(at.kernel, 'two')).stdout, 'one two\n')
  assert.equal(textOf(await collect(events)), 'one two\n')
  assert.equal(textOf(await collect(more)), 'one two\n')
})

test('an EventSource reads events of an execution', async () => {
  const at = await newKernel()
  const { executionId, events } = await runEvents(at, 'for i in range(3): print(i)\ninput()\n1/0')
  const source = new EventSource(`${at.url}/v1/kernel/${at.kernel}/executions/${executionId}/events`, {
    fetch: (url, init) =>
      fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${at.key}` } }),
  })
  const seen: [string, string][] = []
  const finished = new Promise<void>((resolve) => {
    for (const type of ['started', 'stream', 'input-request', 'error', 'finished'])
      source.addEventListener(type, (event) => {
        seen.push([event.lastEventId, event.type])
        if (type === 'input-request')
          void server.call('POST', `/v1/kernel/${at.kernel}/executions/${executionId}/input`, { text: '' })
        if (type === 'finished') resolve()
      })
  })
  await finished
  source.close()
  const all = await collect(events)
  assert.deepEqual(
    seen,
    all.map(({ id, type }) => [String(id), type]),
  )
  assert.equal(seen.at(-2)?.[1], 'error')
})

test('an execution can be looked at while it runs and afterwards, which takes nothing away', async () => {
  const at = await newKernel()
  const look = async (id: string): Promise<RunResult> =>
    (await server.call<{ result: RunResult }>('GET', `/v1/kernel/${at.kernel}/executions/${id}`)).body.result
  const first = await server.run(
    at.kernel,
    'print("so far")\nx = input("? ")\nx',
    { prefer: 'wait=5' },
    'mine',
  )
  assert.equal(first.status, 'waiting-input')
  for (const id of ['mine', first.executionId]) {
    const seen = await look(id)
    assert.deepEqual([seen.status, seen.stdout, seen.options?.prompt], ['waiting-input', 'so far\n', '? '])
  }
  const last = await server.run(at.kernel, 'answer')
  assert.deepEqual([last.stdout, last.value?.['text/plain']], ['', "'answer'"])
  const seen = await look('mine')
  assert.deepEqual(
    [seen.status, seen.stdout, seen.value?.['text/plain']],
    ['finished', 'so far\n', "'answer'"],
  )
  const { status, body } = await server.call('GET', `/v1/kernel/${at.kernel}/executions/none`)
  assert.deepEqual([status, body.code], [404, 'no-such-execution'])
})

test('the execution survives its client, and a reader that breaks off again and again gets each byte once', async () => {
  const at = await newKernel()
  const megabytes = 24
  const code = `
import hashlib, os, base64
digest = hashlib.sha256()
for i in range(${megabytes}):
    text = base64.b64encode(os.urandom(786_432)).decode() + "\\n"
    digest.update(text.encode())
    print(text, end="")
digest.hexdigest()`
  const cut = new AbortController()
  const { executionId, events } = await runEvents(at, code, cut.signal)
  const hash = createHash('sha256')
  let lastId = 0
  let result = ''
  let bytes = 0
  const take = (event: ExecutionEvent): void => {
    assert.equal(event.id, lastId + 1)
    lastId = event.id
    if (event.type === 'stream') {
      hash.update(event.text)
      bytes += event.text.length
    }
    if (event.type === 'result') result = String(event.data['text/plain'])
  }
  for await (const event of events) {
    take(event)
    if (bytes > 2_000_000) break
  }
  cut.abort()
  let connections = 1
  for (let isOver = false; !isOver; connections++) {
    const stopAt = bytes + 5_000_000
    const broken = new AbortController()
    isOver = true
    for await (const event of resumeEvents(at, executionId, lastId, broken.signal)) {
      take(event)
      if (bytes < stopAt) continue
      isOver = false
      break
    }
    broken.abort()
  }
  assert.ok(connections >= 4)
  assert.equal(bytes, megabytes * 1_048_577)
  assert.equal(`'${hash.digest('hex')}'`, result)
  const late = await server.call(
    'GET',
    `/v1/kernel/${at.kernel}/executions/${executionId}/events`,
    undefined,
    { accept: 'application/x-ndjson', 'last-event-id': '1' },
  )
  assert.deepEqual([late.status, late.body.code], [410, 'events-gone'])
  assert.ok(Number(late.body.firstId) > 2)
})

test('a reader that takes nothing stops the code, not the session', async () => {
  const at = await newKernel()
  const cut = new AbortController()
  const flood =
    'import time\nfor i in range(4000):\n    print("x" * 10_000)\n    open("count", "w").write(str(i))'
  const { events } = await runEvents(at, flood, cut.signal)
  await next(events)
  const count = async (): Promise<number> => {
    const { body } = await server.call<number>('GET', `/v1/kernel/${at.kernel}/files/count`)
    return body
  }
  let stood = 0
  for (let before = -1, now = 0; stood < 5; before = now) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    now = (await count().catch(() => 0)) ?? 0
    stood = now === before && now > 0 ? stood + 1 : 0
  }
  assert.ok((await count()) < 3900)
  // It is interrupted all the same; its last words wait for the reader.
  assert.equal((await server.call('POST', `/v1/kernel/${at.kernel}/interrupt`)).status, 204)
  const rest = await collect(events)
  const last = rest.at(-1)
  assert.deepEqual([last?.type, last?.type === 'finished' && last.status], ['finished', 'interrupted'])
})

test('an end of the session ends the stream with the reason, and the events can still be read', async () => {
  const at = await newKernel({ resourceLimits: { timeout: 300 } })
  const { executionId, events } = await runEvents(at, 'print("on its way")\nwhile True: pass')
  const all = await collect(events)
  assert.equal(textOf(all), 'on its way\n')
  const last = all.at(-1)
  assert.ok(last?.type === 'finished')
  assert.deepEqual([last.status, last.reason], ['terminated', 'query-timeout'])
  assert.deepEqual(await collect(resumeEvents(at, executionId, 1)), all.slice(1))
})

test('an EventSource that comes back after the end is told that there is no more', async () => {
  const at = await newKernel()
  const { executionId } = await server.run(at.kernel, '1')
  const events = `/v1/kernel/${at.kernel}/executions/${executionId}/events`
  const key = { authorization: `Bearer ${server.key}` }
  const resume = (accept: string, last: string): Promise<Response> =>
    fetch(server.url + events, { headers: { ...key, accept, 'last-event-id': last } })
  const all = await (await resume('text/event-stream', '0')).text()
  const last = [...all.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? ''
  assert.equal((await resume('text/event-stream', last)).status, 204)
  const before = await resume('text/event-stream', String(Number(last) - 1))
  assert.match(await before.text(), /event: finished/)
  const lines = await resume('application/x-ndjson', last)
  assert.deepEqual([lines.status, await lines.text()], [200, ''])
})

test('what is wrong before the first event is a problem document', async () => {
  const at = await newKernel()
  const events = `/v1/kernel/${at.kernel}/executions/none/events`
  const stream = { accept: 'text/event-stream' }
  const { executionId } = await server.run(at.kernel, '1')
  for (const [method, path, body, headers, status, code] of [
    ['GET', events, undefined, stream, 404, 'no-such-execution'],
    ['POST', `/v1/kernel/${at.kernel}`, { kode: '1' }, stream, 400, 'invalid-request'],
    ['POST', `/v1/kernel/${at.kernel}`, { code: '1' }, { accept: 'text/html' }, 406, 'not-acceptable-type'],
    [
      'GET',
      events.replace('none', executionId),
      undefined,
      { 'last-event-id': '99' },
      400,
      'invalid-request',
    ],
    [
      'GET',
      events.replace('none', executionId),
      undefined,
      { 'last-event-id': 'abc' },
      400,
      'invalid-request',
    ],
  ] as const) {
    const answer = await server.call(method, path, body, headers)
    assert.deepEqual([answer.status, answer.body.code], [status, code])
    assert.match(answer.headers.get('content-type') ?? '', /problem\+json/)
  }
})

test('files that code created or changed are told in its result', async () => {
  const kernel = await server.create()
  const { files } = await server.run(kernel, 'import os\nos.mkdir("d")\nopen("d/a.txt", "w").write("abc")')
  assert.deepEqual(files, [{ path: 'd/a.txt', size: 3 }])
  assert.equal((await server.run(kernel, '1')).files, undefined)
})
