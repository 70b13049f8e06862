import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import type { RunResult } from '@cob/protocol'
import { pino } from 'pino'
import { openTracing } from '../../../packages/server/src/observe/open-tracing.ts'
import { createApiClient } from '../../support/api-client.ts'
import { startCollector } from '../../support/collector.ts'
import { KEY, startHttp } from '../../support/http-fixture.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'

async function start(t: TestContext) {
  const collector = await startCollector()
  t.after(() => collector.close())
  const logger = pino({ level: 'silent' })
  const tracing = await openTracing({ endpoint: collector.url, version: '0.0.0-test', logger })
  const http = await startHttp({ tracing })
  let isOpen = true
  const finish = async (): Promise<void> => {
    if (!isOpen) return
    isOpen = false
    await http.close()
    await tracing?.close()
  }
  t.after(finish)
  return { http, collector, client: createApiClient(http.url, `${KEY.accessKey}:${KEY.secretKey}`), finish }
}

test('a trace shows the request, the session it made and the code it ran, with their ids, and goes on where the client began it', async (t) => {
  const { collector, client, finish } = await start(t)
  const traceparent = `00-${TRACE}-${PARENT}-01`
  const created = await client.call<{ kernelId: string }>(
    'POST',
    '/v1/kernel/create',
    { lang: 'fake' },
    { traceparent },
  )
  const { kernelId } = created.body
  const { body } = await client.call<{ result: RunResult }>('POST', `/v1/kernel/${kernelId}`, {
    code: 'print word-in-output',
  })
  await client.call('GET', `/v1/kernel/${kernelId}/files/word-in-path`)
  await finish()

  const [create] = collector.spans.filter(({ name }) => name === 'create')
  const [request] = collector.spans.filter(({ name }) => name === 'POST /v1/kernel/create')
  assert.ok(create && request)
  assert.deepEqual([request.traceId, request.parentSpanId], [TRACE, PARENT])
  assert.equal(request.attributes['cob.request.id'], created.headers.get('x-request-id'))
  assert.equal(Number(request.attributes['http.response.status_code']), 201)
  assert.equal(request.resource['service.name'], 'cob')
  assert.deepEqual([create.traceId, create.parentSpanId], [TRACE, request.spanId])
  assert.deepEqual(
    [create.attributes['cob.kernel.id'], create.attributes['cob.lang'], create.attributes['cob.start']],
    [kernelId, 'fake', 'cold'],
  )

  const [execute] = collector.spans.filter(({ name }) => name === 'execute')
  const [run] = collector.spans.filter(({ name }) => name === 'POST /v1/kernel/:id')
  assert.ok(execute && run)
  assert.notEqual(run.traceId, TRACE)
  assert.deepEqual([execute.traceId, execute.parentSpanId], [run.traceId, run.spanId])
  assert.equal(run.attributes['cob.kernel.id'], kernelId)
  assert.equal(execute.attributes['cob.execution.id'], body.result.executionId)
  assert.equal(execute.attributes['cob.outcome'], 'finished')
  for (const word of ['word-in-output', 'word-in-path', KEY.secretKey])
    assert.ok(!collector.text().includes(word), word)
})

test('a client that does not want to be traced is not', async (t) => {
  const { collector, client, finish } = await start(t)
  const traceparent = `00-${TRACE}-${PARENT}-00`
  await client.call('GET', '/v1/kernels', undefined, { traceparent })
  await client.call('GET', '/v1/langs', undefined, { traceparent: 'nonsense' })
  await finish()
  assert.deepEqual(
    collector.spans.map(({ name }) => name),
    ['GET /v1/langs'],
  )
})

test('a session that could not start, and code whose session ended, are in the trace as that', async (t) => {
  const { http, collector, client, finish } = await start(t)
  http.backend.failNext = new Error('no room')
  assert.equal((await client.call('POST', '/v1/kernel/create', { lang: 'fake' })).status, 503)
  const kernel = await client.create({ lang: 'fake' })
  await client.run(kernel, 'crash')
  await finish()
  const [execute] = collector.spans.filter(({ name }) => name === 'execute')
  assert.equal(execute?.attributes['cob.outcome'], 'crashed')
  const failed = collector.spans.filter(({ isError }) => isError).map(({ name }) => name)
  assert.deepEqual(failed.sort(), ['POST /v1/kernel/create', 'create'])
})

test('without a collector nothing of OpenTelemetry is loaded', async () => {
  const modules = ['app.ts', 'observe/open-tracing.ts'].map(
    (name) => new URL(`../../../packages/server/src/${name}`, import.meta.url).href,
  )
  const code = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
    const { openTracing } = await import(${JSON.stringify(modules[1])})
    await import(${JSON.stringify(modules[0])})
    if ((await openTracing({ endpoint: undefined })) !== undefined) throw new Error('there is a tracing')
    process.stdout.write(loaded.join('\\n'))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])
  assert.match(stdout, /observe\/open-tracing\.ts/)
  // What figures are made with brings the interfaces alone.
  assert.deepEqual(
    stdout.split('\n').filter((url) => /open-telemetry|@opentelemetry\/(?!api\/)/.test(url)),
    [],
  )
})
