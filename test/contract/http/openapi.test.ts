import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ERRORS } from '../../../packages/server/src/errors.ts'
import { errorsReference } from '../../../scripts/generate-errors.ts'
import { openapiDocument } from '../../../scripts/generate-openapi.ts'
import { type HttpFixture, startHttp } from '../../support/http-fixture.ts'

interface Operation {
  readonly summary: string
  readonly security?: readonly unknown[]
  readonly requestBody?: { readonly required: boolean }
  readonly responses: Record<string, { description: string; content?: Record<string, unknown> }>
}
interface Document {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, unknown> }
}

let http: HttpFixture
let document: Document
before(async () => {
  http = await startHttp({ metricsAccess: 'key' })
  // What is asked of it below is what the document must have.
  document = JSON.parse(await openapiDocument()) as Document
})
after(() => http.close())

const operations = (): { path: string; method: string; operation: Operation }[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

test('the document is the same each time it is made', async () => {
  assert.equal(await openapiDocument(), await openapiDocument())
})

test('the document describes every operation there is, and nothing else', () => {
  assert.equal(document.openapi, '3.1.0')
  assert.deepEqual(
    operations()
      .map(({ path, method }) => `${method} ${path}`)
      .sort(),
    [
      'delete /v1/kernel/{id}',
      'get /healthz',
      'get /metrics',
      'get /readyz',
      'get /v1',
      'get /v1/authorize',
      'delete /v1/kernel/{id}/files/{path}',
      'delete /v1/admin/drain',
      'delete /v1/admin/sessions/{id}',
      'get /v1/admin/audit',
      'get /v1/admin/drain',
      'get /v1/admin/keys',
      'get /v1/admin/keys/{accessKey}',
      'get /v1/admin/sessions',
      'get /v1/admin/usage',
      'patch /v1/admin/keys/{accessKey}',
      'post /v1/admin/drain',
      'post /v1/admin/keys',
      'post /v1/admin/keys/{accessKey}/disable',
      'post /v1/admin/keys/{accessKey}/enable',
      'post /v1/admin/keys/{accessKey}/rotate',
      'get /v1/kernel/{id}',
      'get /v1/kernel/{id}/files',
      'get /v1/kernel/{id}/files/{path}',
      'get /v1/kernels',
      'get /v1/stream/kernel/{id}/events',
      'get /v1/stream/kernel/{id}/pty',
      'get /v1/langs',
      'patch /v1/kernel/{id}',
      'post /v1/kernel/create',
      'post /v1/kernel/{id}',
      'get /v1/kernel/{id}/executions/{executionId}',
      'get /v1/kernel/{id}/executions/{executionId}/events',
      'post /v1/kernel/{id}/complete',
      'post /v1/kernel/{id}/executions/{executionId}/input',
      'post /v1/kernel/{id}/executions/{executionId}/interrupt',
      'post /v1/kernel/{id}/input',
      'post /v1/kernel/{id}/inspect',
      'post /v1/kernel/{id}/interrupt',
      'post /v1/kernel/{id}/upload',
      'put /v1/kernel/{id}/files/{path}',
    ].sort(),
  )
})

test('the operations that say they need no key need none, and all others do', async () => {
  for (const { path, method, operation } of operations()) {
    const response = await fetch(http.url + path.replace('{id}', 'TSSJT2Z4SnmQhxjWMnJljg'), {
      method: method.toUpperCase(),
    })
    const isOpen = operation.security?.length === 0
    assert.equal(response.status === 401, !isOpen, `${method} ${path}`)
    assert.equal('401' in operation.responses, !isOpen, `${method} ${path}`)
  }
})

test('every response has a description, and every error is a problem document', () => {
  for (const { path, method, operation } of operations()) {
    assert.ok(operation.summary)
    assert.ok('4XX' in operation.responses && '5XX' in operation.responses)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      assert.notEqual(description, 'Default Response', `${method} ${path} ${status}`)
      const expected =
        status === '204' || status === '101'
          ? []
          : [/^[45]/.test(status) ? 'application/problem+json' : 'application/json']
      // A file is of any type, events come in two, and figures in Prometheus' own.
      const found = Object.keys(content ?? {}).filter(
        (type) => !/octet-stream|x-tar|event-stream|ndjson|text\/(plain|csv)/.test(type),
      )
      const isOther =
        status === '206' ||
        (status === '200' && /^\/metrics$|\/executions\/{executionId}\/events$/.test(path))
      assert.deepEqual(found, isOther ? [] : expected, `${method} ${path} ${status}`)
    }
  }
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name]) => name,
  )
  assert.ok(references.length > 0)
  for (const name of references) assert.ok(name && name in document.components.schemas, name)
})

test('a body that may be left out is described so', () => {
  const taken = operations().filter(({ operation }) => operation.requestBody)
  const mayBeMissing = taken.filter(({ operation }) => operation.requestBody?.required === false)
  assert.ok(taken.length > mayBeMissing.length)
  assert.deepEqual(
    mayBeMissing.map(({ method, path }) => `${method} ${path}`),
    [
      'delete /v1/kernel/{id}',
      'patch /v1/kernel/{id}',
      'post /v1/kernel/{id}/interrupt',
      'post /v1/kernel/{id}/executions/{executionId}/interrupt',
      'post /v1/admin/keys/{accessKey}/disable',
      'post /v1/admin/keys/{accessKey}/enable',
      'post /v1/admin/keys/{accessKey}/rotate',
      'delete /v1/admin/sessions/{id}',
      'post /v1/admin/drain',
      'delete /v1/admin/drain',
    ],
  )
})

test('the reference of errors has a line for every code', () => {
  const lines = errorsReference().split('\n')
  for (const [code, { status, title }] of Object.entries(ERRORS))
    assert.ok(
      lines.some((line) => line.startsWith(`| \`${code}\` | ${status} | ${title} | `)),
      code,
    )
})
