import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { BEARER, type HttpFixture, startHttp } from '../../support/http-fixture.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)

let http: HttpFixture
before(async () => {
  http = await startHttp()
})
after(() => http.close())

const path = fc.oneof(
  fc.constantFrom(
    '/v1',
    '/v1/',
    '/v1/authorize',
    '/v1/kernel/create',
    '/v1/kernels',
    '/v1/langs',
    '/healthz',
    '/docs',
    '/v1/kernel/TSSJT2Z4SnmQhxjWMnJljg',
  ),
  fc.webPath(),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }).map((text) => `/v1/kernel/${encodeURIComponent(text)}`),
  fc.stringMatching(/^\/[!-~]{0,40}$/),
)
const body = fc.oneof(
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
  fc
    .record(
      {
        lang: fc.oneof(fc.constantFrom('fake', 'f', 'other', 'absent'), fc.jsonValue()),
        clientSessionToken: fc.oneof(fc.string(), fc.jsonValue()),
        resourceLimits: fc.oneof(
          fc.record({ maxMem: fc.jsonValue(), timeout: fc.integer() }),
          fc.jsonValue(),
        ),
        environ: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.jsonValue()),
        code: fc.oneof(fc.constantFrom('print a', 'value 1', 'raise E', ''), fc.jsonValue()),
        codeId: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    .map((value) => Buffer.from(JSON.stringify(value))),
)
const headerValue = fc.stringMatching(/^[!-~][ -~]{0,40}$/)
const headers = fc.record(
  {
    authorization: fc.oneof(
      fc.constant(BEARER),
      fc.constant(BEARER),
      headerValue,
      headerValue.map((text) => `Sorna ${text}`),
    ),
    'content-type': fc.oneof(fc.constant('application/json'), fc.constant('application/json'), headerValue),
    accept: headerValue,
    prefer: fc.oneof(fc.constant('wait=0'), headerValue),
    date: headerValue,
    'x-sorna-version': headerValue,
    'x-request-id': headerValue,
  },
  { requiredKeys: [] },
)

test(`nothing that can be sent makes a 5xx, a hang, or an error without a problem document (seed ${SEED})`, {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
      path,
      headers,
      body,
      async (method, target, sent, content) => {
        const outgoing = request(http.url, {
          method,
          path: target,
          headers: { ...sent, 'content-length': content?.length ?? 0 },
        })
        outgoing.end(content)
        const [response] = await once(outgoing, 'response')
        let text = ''
        for await (const chunk of response.setEncoding('utf8')) text += chunk
        // All the sessions there may be can be in use here.
        const isExpected = response.statusCode < 500 || /"no-capacity"/.test(text)
        assert.ok(isExpected, `${response.statusCode} ${text}`)
        if (response.statusCode >= 400 && method !== 'HEAD')
          assert.equal(JSON.parse(text).status, response.statusCode)
        assert.ok(response.headers['x-request-id'])
      },
    ),
    { seed: SEED, numRuns: 3000 },
  )
})
