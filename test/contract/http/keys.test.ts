import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { request as rawRequest } from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Problem } from '@cob/protocol'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'

const CLIENT = path.resolve(import.meta.dirname, '../../support/client_2016.py')
const NOW = Date.parse('2016-12-25T10:11:12.123Z')
/** As clients of 2016 send it: microseconds and an offset. */
const DATE = '2016-12-25T10:11:12.123456+00:00'

let http: HttpFixture
before(async () => {
  http = await startHttp({ now: () => NOW })
})
after(() => http.close())

interface Signed {
  readonly method?: string
  readonly path?: string
  readonly signedPath?: string
  readonly body?: string
  readonly date?: string
  readonly dateHeader?: string
  readonly secret?: string
  readonly accessKey?: string
}

/** Sends a request through a client written in Python from the specification's text; returns status and body. */
async function signed(
  options: Signed,
): Promise<{ status: number; headers: Record<string, string>; body: Problem & Record<string, unknown> }> {
  const { stdout } = await promisify(execFile)('/usr/bin/python3', [
    '-I',
    CLIENT,
    JSON.stringify({
      host: http.host,
      method: 'GET',
      path: '/v1/authorize',
      body: '{"echo": "x"}',
      date: DATE,
      dateHeader: 'Date',
      ...KEY,
      secret: KEY.secretKey,
      ...options,
    }),
  ])
  const { status, headers, body } = JSON.parse(stdout) as {
    status: number
    headers: Record<string, string>
    body: string
  }
  // What clients of 2016 read of every answer, whatever its status.
  assert.ok(
    headers['content-type'] !== undefined && headers['content-length'] !== undefined,
    JSON.stringify(headers),
  )
  return { status, headers, body: body === '' ? undefined : JSON.parse(body) }
}

test('a client of 2016 proves itself with a signature over a GET with a JSON body', async () => {
  const { status, body } = await signed({})
  assert.deepEqual([status, body], [200, { authorized: 'yes', echo: 'x' }])
  assert.equal((await signed({ signedPath: '/v1/authorize/' })).status, 200)
})

test('a signed client goes through the life of a kernel, with and without bodies and trailing slashes', async () => {
  const created = await signed({
    method: 'POST',
    path: '/v1/kernel/create',
    body: '{"lang": "fake", "clientSessionToken": "test-token", "resourceLimits": {"maxMem": 0, "timeout": 0}}',
  })
  assert.equal(created.status, 201)
  const kernel = `/v1/kernel/${created.body.kernelId}`
  assert.equal((await signed({ path: kernel, body: '' })).body.lang, 'fake')
  assert.equal((await signed({ path: `${kernel}/`, body: '' })).status, 200)
  assert.equal((await signed({ path: `${kernel}?a=b%20c`, body: '' })).status, 200)
  const ran = await signed({ method: 'POST', path: kernel, body: '{"code": "print ä"}' })
  assert.equal((ran.body.result as { stdout: string }).stdout, 'ä\n')
  assert.equal((await signed({ method: 'PATCH', path: kernel, body: '' })).status, 204)
  assert.equal((await signed({ method: 'DELETE', path: kernel, body: '' })).status, 204)
})

test('dates are taken as ISO 8601 with and without zone, and as RFC 7231, in either header', async () => {
  for (const date of [
    '2016-12-25T10:11:12Z',
    '2016-12-25T10:11:12',
    '2016-12-25T10:11:12.123456',
    'Sun, 25 Dec 2016 10:11:12 GMT',
    '2016-12-25T19:11:12+09:00',
    '2016-12-25T10:26:12Z',
    '2016-12-25T09:56:13Z',
  ]) {
    assert.equal((await signed({ date })).status, 200, date)
    assert.equal((await signed({ date, dateHeader: 'X-Sorna-Date' })).status, 200, date)
  }
})

test('a date in a zone where it is already another day is good with either day', async () => {
  const late = await startHttp({ now: () => Date.parse('2016-12-25T20:00:00Z') })
  const early = http
  http = late
  try {
    assert.equal((await signed({ date: '2016-12-26T05:00:00+09:00' })).status, 200)
  } finally {
    http = early
    await late.close()
  }
})

test('an expired, future or unreadable date is 401 and tells the clock', async () => {
  for (const date of [
    '2016-12-25T09:56:12Z',
    '2016-12-25T10:26:13Z',
    '2026-01-01T00:00:00Z',
    'yesterday',
    '1482660672',
  ]) {
    const { status, body } = await signed({ date })
    assert.deepEqual([status, body.code], [401, 'unauthorized'], date)
    assert.match(body.detail, /15 minutes of the server's clock, which says 2016-12-25T10:11:12/)
  }
})

test('a signature by a wrong secret, an unknown key or a disabled key is 401, and tells no difference', async () => {
  const answers = await Promise.all([
    signed({ secret: 'another-secret' }),
    signed({ accessKey: 'AKIANOBODY' }),
    signed({ accessKey: 'AKIADISABLED' }),
  ])
  const details = answers.map(({ status, body }) => {
    assert.equal(status, 401)
    return body.detail
  })
  assert.equal(new Set(details).size, 1)
})

test('after a rotation a signature by either secret is good, and by the old one only until the overlap ends', async () => {
  const rotate = (validUntil: number): unknown =>
    http.store.changeKey('AKIAOTHER', (key) => ({
      ...key,
      secretKey: 'the-new-secret',
      previous: { secretKey: KEY.secretKey, validUntil },
    }))
  const by = async (secret: string): Promise<number> =>
    (await signed({ accessKey: 'AKIAOTHER', secret })).status
  rotate(NOW + 1)
  assert.deepEqual([await by('the-new-secret'), await by(KEY.secretKey)], [200, 200])
  rotate(NOW)
  assert.deepEqual([await by('the-new-secret'), await by(KEY.secretKey)], [200, 401])
})

test('the body is part of what was signed', async () => {
  const { stdout } = await promisify(execFile)('/usr/bin/python3', [
    '-I',
    CLIENT,
    JSON.stringify({
      host: http.host,
      method: 'GET',
      path: '/v1/authorize',
      body: '{"echo": "y"}',
      signedBody: '{"echo": "x"}',
      date: DATE,
      dateHeader: 'Date',
      accessKey: KEY.accessKey,
      secret: KEY.secretKey,
    }),
  ])
  assert.equal((JSON.parse(stdout) as { status: number }).status, 401)
})

test('a Bearer key is good; without one, or with a bad one, every operation is 401 and says what to send', async () => {
  const get = async (
    authorization?: string,
  ): Promise<{ status: number; body: Problem; headers: Headers }> => {
    const response = await fetch(`${http.url}/v1/kernels`, {
      headers: authorization === undefined ? {} : { authorization },
    })
    return { status: response.status, headers: response.headers, body: (await response.json()) as Problem }
  }
  assert.equal((await get(BEARER)).status, 200)
  assert.equal((await get(BEARER.replace('Bearer', 'bearer'))).status, 200)
  for (const [bad, expected] of [
    [undefined, /no Authorization header.*Bearer <accessKey>:<secretKey>/],
    ['', /Authorization/],
    ['Basic abc', /scheme is not known/],
    ['Bearer nothing', /form <accessKey>:<secretKey>/],
    [`Bearer ${KEY.accessKey}:wrong-secret`, /unknown, disabled, or its secret is wrong/],
    ['Bearer AKIANOBODY:a-secret-of-the-tests', /unknown, disabled, or its secret is wrong/],
    ['Bearer AKIADISABLED:a-secret-of-the-tests', /unknown, disabled, or its secret is wrong/],
    ['Sorna signMethod=HMAC-MD5, credential=a:b', /HMAC-SHA256/],
    ['Sorna signMethod=HMAC-SHA256, credential=nonsense', /64 hexadecimal digits/],
    [`Sorna signMethod=HMAC-SHA256, credential=${KEY.accessKey}:${'0'.repeat(64)}`, /X-Sorna-Version/],
  ] as const) {
    const { status, body, headers } = await get(bad)
    assert.deepEqual([status, body.code], [401, 'unauthorized'], bad)
    assert.match(body.detail, expected)
    assert.match(headers.get('www-authenticate') ?? '', /Bearer realm="cob"/)
  }
})

test('a stranger is told 401 before anything of the body is looked at', async () => {
  const response = await fetch(`${http.url}/v1/kernel/create`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  })
  assert.equal(response.status, 401)
})

test('authorize without a body, or with a malformed one, is 400', async () => {
  for (const body of ['', '{}', '{"echo": 1}', '{"echo": "x", "more": 1}', '{"echo"']) {
    assert.equal((await signed({ body })).status, 400, body)
  }
  const { promise, resolve } = Promise.withResolvers<number | undefined>()
  rawRequest(`${http.url}/v1/authorize`, { headers: { authorization: BEARER } }, (response) => {
    response.resume()
    resolve(response.statusCode)
  }).end()
  assert.equal(await promise, 400)
})
