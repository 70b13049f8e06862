import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RunResult } from '@cob/protocol'
import { pino } from 'pino'
import { createCodeLog } from '../../../packages/server/src/observe/code-log.ts'
import { createObserver } from '../../../packages/server/src/observe/observer.ts'
import { openapiDocument } from '../../../scripts/generate-openapi.ts'
import { createApiClient } from '../../support/api-client.ts'
import { createFakeBackend } from '../../support/fake-backend.ts'
import { createFakeSessions } from '../../support/fake-sessions.ts'
import { ADMIN, BEARER, KEY, startHttp } from '../../support/http-fixture.ts'
import { open, readAnswer } from '../../support/raw-http.ts'

/** Whatever a client may send that is nobody else's business: each place has a word of its own. */
const WORDS = {
  code: 'word-in-code',
  environ: 'word-in-environ',
  output: 'word-in-output',
  input: 'word-in-input',
  file: 'word-in-file',
  query: 'word-in-query',
  name: 'word-in-name',
  json: 'word-in-json',
  header: 'word-in-header',
  signature: 'c0ffee'.repeat(11).slice(0, 64),
} as const

async function start(t: TestContext) {
  const lines: string[] = []
  const logger = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) })
  const http = await startHttp({ logger })
  t.after(() => http.close())
  return { http, lines, client: createApiClient(http.url, `${KEY.accessKey}:${KEY.secretKey}`) }
}

test('at its most talkative the log of every route has no key, code, output, input, environment or content of a file', async (t) => {
  const { http, lines, client } = await start(t)
  const kernel = await client.create({ lang: 'fake', environ: { SECRET: WORDS.environ } })
  await client.run(kernel, `print ${WORDS.output}\n${WORDS.code}`)
  await client.run(kernel, `raise ${WORDS.output}`)
  await client.run(kernel, `ask ${WORDS.output}`)
  await client.run(kernel, WORDS.input)

  // JSON.parse told us of the type.
  const { paths } = JSON.parse(await openapiDocument()) as { paths: Record<string, Record<string, unknown>> }
  const bodies = [
    undefined,
    JSON.stringify({
      code: WORDS.code,
      text: WORDS.input,
      environ: { SECRET: WORDS.environ },
      echo: WORDS.json,
    }),
    JSON.stringify({ lang: 'fake', environ: { SECRET: WORDS.environ } }),
    `{"code": ${WORDS.json}`,
  ]
  const keys = [
    BEARER,
    ADMIN,
    `${BEARER}${WORDS.header}`,
    `Sorna signMethod=HMAC-SHA256, credential=${KEY.accessKey}:${WORDS.signature}`,
  ]
  let asked = 0
  const ids: (string | undefined)[] = []
  for (const [template, methods] of Object.entries(paths)) {
    const path = template
      .replace('{id}', kernel)
      .replace('{executionId}', WORDS.name)
      .replace('{path}', `${WORDS.name}.txt`)
    // The session lives until the end.
    for (const method of Object.keys(methods).filter(
      (name) => !(name === 'delete' && template.endsWith('{id}')),
    ))
      for (const authorization of keys)
        for (const body of bodies) {
          const response = await fetch(`${http.url}${path}?token=${WORDS.query}`, {
            method: method.toUpperCase(),
            headers: {
              authorization,
              cookie: WORDS.header,
              ...(body !== undefined && { 'content-type': 'application/json' }),
              'last-event-id': WORDS.header,
              prefer: 'wait=1',
            },
            ...(body !== undefined &&
              method !== 'get' && { body: template.includes('files') ? WORDS.file : body }),
          })
          await response.arrayBuffer()
          ids.push(response.headers.get('x-request-id') ?? undefined)
          asked++
        }
  }
  await fetch(`${http.url}/${WORDS.name}/nowhere?token=${WORDS.query}`)
  const socket = open(http)
  socket.write(`${WORDS.header} nonsense\r\n\r\n`)
  await readAnswer(socket)
  socket.destroy()
  await client.destroy(kernel)

  const answered = lines.filter((line) => line.includes('Answered a request.'))
  assert.ok(asked > 200, `${asked}`)
  assert.ok(answered.length >= asked, `${answered.length} of ${asked}`)
  // Each answer is told of under the id its client has.
  const told = new Set(answered.map((line) => JSON.parse(line).requestId))
  for (const id of ids) assert.ok(told.has(id))
  assert.ok(lines.some((line) => line.includes('Session changed state.')))
  const text = lines.join('')
  // An execution may be called anything; it is called so by who asks for it.
  for (const [place, word] of Object.entries({ ...WORDS, secret: KEY.secretKey }))
    if (place !== 'name')
      assert.ok(!text.includes(word), `${place}: ${lines.find((line) => line.includes(word))}`)
  assert.ok(!text.includes(`${WORDS.name}.txt`))
})

test('a request and the session that it made are found by their ids', async (t) => {
  const { lines, client } = await start(t)
  const { body, headers } = await client.call<{ kernelId: string }>('POST', '/v1/kernel/create', {
    lang: 'fake',
  })
  const requestId = headers.get('x-request-id')
  const { kernelId } = body
  const { result } = (
    await client.call<{ result: RunResult }>('POST', `/v1/kernel/${kernelId}`, { code: 'print 1' })
  ).body
  const events = await client.call('GET', `/v1/kernel/${kernelId}/executions/${result.executionId}`)
  assert.equal(events.status, 200)
  await client.destroy(kernelId)
  const entries = lines.map((line) => JSON.parse(line))
  const created = entries.find(({ msg }) => msg === 'Session created.')
  assert.deepEqual([created.requestId, created.kernelId, created.owner], [requestId, kernelId, KEY.accessKey])
  const asked = entries.find(({ executionId }) => executionId === result.executionId)
  assert.deepEqual(
    [asked.msg, asked.kernelId, asked.route],
    ['Answered a request.', kernelId, '/v1/kernel/:id/executions/:executionId'],
  )
  assert.ok(entries.some(({ msg, kernelId: of }) => msg === 'Session ends.' && of === kernelId))
})

test('code and its output are logged where the operator asks for them, and then in bounds', async (t) => {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
  const backend = createFakeBackend()
  const sessions = createFakeSessions(backend, { observer: createObserver(createCodeLog(logger)) })
  t.after(() => sessions.close())
  const { kernelId } = await sessions.create('me', { lang: 'fake' })
  const code = `print ${'long '.repeat(10_000)}`
  const { executionId } = await sessions.run('me', kernelId, { code }, {})
  const [submitted, ended] = lines.map((line) => JSON.parse(line))
  assert.deepEqual([submitted.kernelId, submitted.executionId, submitted.code], [kernelId, executionId, code])
  assert.deepEqual([ended.executionId, ended.outcome, ended.stdout.length], [executionId, 'finished', 16_384])
})
