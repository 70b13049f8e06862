import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AuditEntry, Drain, KeyInfo, KeyUsage, KeyWithSecret, SessionUsage } from '@cob/protocol'
import { type ApiClient, createApiClient } from '../../support/api-client.ts'
import { ADMIN, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'

const SECRET = KEY.secretKey
let now = Date.now()
let http: HttpFixture
let admin: ApiClient
let user: ApiClient
before(async () => {
  http = await startHttp({ now: () => now })
  admin = createApiClient(http.url, `AKIAADMIN:${SECRET}`)
  user = createApiClient(http.url, `${KEY.accessKey}:${SECRET}`)
})
after(() => http.close())

const make = async (request: object = {}): Promise<{ key: KeyWithSecret; client: ApiClient }> => {
  const { status, body } = await admin.call<KeyWithSecret>('POST', '/v1/admin/keys', request)
  assert.equal(status, 201)
  return { key: body, client: createApiClient(http.url, `${body.accessKey}:${body.secretKey}`) }
}
const pathOf = ({ accessKey }: KeyWithSecret): string => `/v1/admin/keys/${accessKey}`
const statusOf = async (client: ApiClient): Promise<number> =>
  (await client.call('GET', '/v1/kernels')).status
const audit = async (query = ''): Promise<AuditEntry[]> =>
  (await admin.call<{ entries: AuditEntry[] }>('GET', `/v1/admin/audit?${query}`)).body.entries

test('a key that is no admin gets 403 and is told why', async () => {
  const { status, body } = await user.call('GET', '/v1/admin/keys')
  assert.deepEqual([status, body.code], [403, 'forbidden'])
  assert.match(body.detail, /role admin; this one has the role user/)
})

test('a key is made with its secret, which is told nowhere else', async () => {
  const { key, client } = await make({ name: 'course', limits: { maxKernels: 3, langs: ['f'] } })
  assert.deepEqual(
    [key.role, key.name, key.isValid, key.limits.maxKernels, key.limits.langs, key.limits.maxMem],
    ['user', 'course', true, 3, ['f'], null],
  )
  assert.equal(await statusOf(client), 200)
  for (const path of ['/v1/admin/keys', pathOf(key), '/v1/admin/audit'])
    assert.ok(!JSON.stringify((await admin.call('GET', path)).body).includes(key.secretKey), path)
  const { body } = await admin.call<KeyInfo & { inUse: unknown }>('GET', pathOf(key))
  assert.deepEqual(body.inUse, { kernels: 0, memoryKb: 0, cpuMsToday: 0 })
})

test('what is wrong with a request is told by name', async () => {
  const { key } = await make()
  for (const [path, request, expected] of [
    ['/v1/admin/keys', { role: 'root' }, /role is "root"/],
    ['/v1/admin/keys', { secretKey: 'mine' }, /Unknown field "secretKey"/],
    ['/v1/admin/keys', { expiresAt: 'tomorrow' }, /expiresAt is "tomorrow"/],
    ['/v1/admin/keys', { limits: { maxKernels: 0 } }, /limits\.maxKernels is 0/],
    [`${pathOf(key)}/rotate`, { overlapMs: 31 * 86_400_000 }, /overlapMs is/],
  ] as const) {
    const { status, body } = await admin.call('POST', path, request)
    assert.deepEqual([status, body.code], [400, 'invalid-request'])
    assert.match(body.detail, expected)
  }
  for (const query of ['limit=0', 'limit=x', 'from=yesterday', 'nonsense=1', 'after=-1'])
    assert.equal((await admin.call('GET', `/v1/admin/audit?${query}`)).status, 400, query)
  for (const [method, path] of [
    ['GET', ''],
    ['PATCH', ''],
    ['POST', '/disable'],
    ['POST', '/enable'],
    ['POST', '/rotate'],
  ] as const) {
    const { status, body } = await admin.call(
      method,
      `/v1/admin/keys/AKIANOBODY${path}`,
      method === 'GET' ? undefined : {},
    )
    assert.deepEqual([status, body.code], [404, 'no-such-key'], path)
  }
})

test('limits, role, name and expiry are changed one by one; what is not named stays', async () => {
  const { key } = await make({ name: 'before', limits: { maxKernels: 3, maxMem: 9 } })
  const change = async (request: object): Promise<KeyInfo> => {
    const { status, body } = await admin.call<KeyInfo>('PATCH', pathOf(key), request)
    assert.equal(status, 200)
    return body
  }
  assert.deepEqual((await change({ limits: { maxKernels: null } })).limits, {
    ...key.limits,
    maxKernels: null,
  })
  assert.equal((await change({ role: 'admin' })).role, 'admin')
  const last = await change({ name: 'after', expiresAt: '2099-01-01T00:00:00.000Z' })
  assert.deepEqual(
    [last.name, last.role, last.expiresAt, last.limits.maxMem],
    ['after', 'admin', '2099-01-01T00:00:00.000Z', 9],
  )
  await change({ role: 'user' })
})

test('a disabled key is refused from the next request on, and taken again when enabled', async () => {
  const { key, client } = await make()
  assert.equal(await statusOf(client), 200)
  await admin.call('POST', `${pathOf(key)}/disable`)
  assert.equal(await statusOf(client), 401)
  await admin.call('POST', `${pathOf(key)}/enable`, {})
  assert.equal(await statusOf(client), 200)
})

test('a key is valid until the moment it expires', async () => {
  const { client } = await make({ expiresAt: new Date(now + 1000).toISOString() })
  assert.equal(await statusOf(client), 200)
  now += 999
  assert.equal(await statusOf(client), 200)
  now += 1
  assert.equal(await statusOf(client), 401)
})

test('after a rotation both secrets are good until the overlap ends, then the new one alone', async () => {
  const { key, client } = await make()
  const rotate = async (request?: object): Promise<{ key: KeyWithSecret; client: ApiClient }> => {
    const { body } = await admin.call<KeyWithSecret>('POST', `${pathOf(key)}/rotate`, request)
    return { key: body, client: createApiClient(http.url, `${body.accessKey}:${body.secretKey}`) }
  }
  const second = await rotate()
  assert.equal(second.key.previousSecretValidUntil, new Date(now + 86_400_000).toISOString())
  assert.deepEqual([await statusOf(client), await statusOf(second.client)], [200, 200])
  now += 86_400_000
  assert.deepEqual([await statusOf(client), await statusOf(second.client)], [401, 200])
  const third = await rotate({ overlapMs: 0 })
  assert.equal(third.key.previousSecretValidUntil, null)
  assert.deepEqual([await statusOf(second.client), await statusOf(third.client)], [401, 200])
})

test('the last valid admin cannot be disabled or made a user', async () => {
  for (const [method, path, request] of [
    ['POST', '/v1/admin/keys/AKIAADMIN/disable', undefined],
    ['PATCH', '/v1/admin/keys/AKIAADMIN', { role: 'user' }],
    ['PATCH', '/v1/admin/keys/AKIAADMIN', { expiresAt: '2001-01-01T00:00:00Z' }],
  ] as const) {
    const { status, body } = await admin.call(method, path, request)
    assert.deepEqual([status, body.code], [409, 'last-admin'])
  }
  const { key, client } = await make({ role: 'admin' })
  assert.equal((await client.call('POST', '/v1/admin/keys/AKIAADMIN/disable')).status, 200)
  assert.equal((await client.call('POST', `${pathOf(key)}/disable`)).status, 409)
  await client.call('POST', '/v1/admin/keys/AKIAADMIN/enable')
  assert.equal((await admin.call('POST', `${pathOf(key)}/disable`)).status, 200)
})

test('a key may have a rate limit of its own', async () => {
  const { client } = await make({ limits: { rateLimit: 2 } })
  const answer = await client.call('GET', '/v1/kernels')
  assert.deepEqual(
    ['limit', 'remaining'].map((name) => answer.headers.get(`x-ratelimit-${name}`)),
    ['2', '1'],
  )
  await client.call('GET', '/v1/kernels')
  assert.equal(await statusOf(client), 429)
})

test('a key that may use some kernel types is told which, also where they were named by an alias', async () => {
  const { client } = await make({ limits: { langs: ['f'] } })
  await client.create({ lang: 'fake' })
  const { status, body } = await client.call('POST', '/v1/kernel/create', { lang: 'other' })
  assert.deepEqual([status, body.code], [403, 'lang-not-allowed'])
  assert.match(body.detail, /"other"\. It may use: fake\./)
})

test('what each session used is told once it has ended, by key and one by one, as JSON and as CSV', async () => {
  const { key, client } = await make()
  const get = (query: string): Promise<Response> =>
    fetch(`${http.url}/v1/admin/usage${query}`, { headers: { authorization: ADMIN } })
  const usage = (query: string): Promise<Response> => get(`?key=${key.accessKey}&${query}`)
  const kernels = [await client.create({ lang: 'fake' }), await client.create({ lang: 'fake' })]
  await client.run(kernels[0] ?? '', 'print ä')
  assert.deepEqual(await (await usage('')).json(), { keys: [] })
  for (const kernel of kernels) await client.destroy(kernel)
  const { keys } = (await (await usage('')).json()) as { keys: KeyUsage[] }
  const { lifetimeMs, ...sum } = keys[0] as KeyUsage
  assert.deepEqual(sum, {
    accessKey: key.accessKey,
    sessions: 2,
    cpuMs: 20,
    executions: 1,
    outputBytes: 3,
    peakMemoryKb: 977,
  })
  assert.ok(lifetimeMs >= 0)
  const first = (await (await usage('by=session&limit=1')).json()) as {
    sessions: SessionUsage[]
    next: number
  }
  assert.deepEqual(
    first.sessions.map(({ kernelId, lang, reason, executions }) => [kernelId, lang, reason, executions]),
    [[kernels[0], 'fake', 'user-requested', 1]],
  )
  const rest = (await (await usage(`by=session&after=${first.next}`)).json()) as {
    sessions: SessionUsage[]
    next: null
  }
  assert.deepEqual([rest.sessions.map(({ kernelId }) => kernelId), rest.next], [[kernels[1]], null])

  const csv = await usage('format=csv')
  assert.match(csv.headers.get('content-type') ?? '', /^text\/csv/)
  assert.equal(
    await csv.text(),
    `accessKey,sessions,cpuMs,executions,outputBytes,lifetimeMs,peakMemoryKb\r\n${key.accessKey},2,20,1,3,${lifetimeMs},977\r\n`,
  )
  const page = await usage('format=csv&by=session&limit=1')
  const next = /^<(.*)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
  assert.ok((await (await get(next ?? '')).text()).includes(`\r\n${kernels[1]},`))
  assert.deepEqual(await (await usage(`to=${first.sessions[0]?.createdAt}`)).json(), { keys: [] })
})

test("sessions of all keys are listed, and one is ended whoever's it is", async () => {
  const kernel = await user.create({ lang: 'fake' })
  const { body } = await admin.call<{ sessions: { accessKey: string; kernelId: string }[] }>(
    'GET',
    '/v1/admin/sessions',
  )
  assert.equal(body.sessions.find(({ kernelId }) => kernelId === kernel)?.accessKey, KEY.accessKey)
  assert.equal((await admin.call('GET', `/v1/kernel/${kernel}`)).status, 404, 'an admin uses only their own')
  assert.equal((await admin.call('DELETE', `/v1/admin/sessions/${kernel}`)).status, 204)
  assert.equal((await user.gone(kernel)).reason, 'user-requested')
  assert.equal((await admin.call('DELETE', `/v1/admin/sessions/${kernel}`)).status, 404)
})

test('while the server drains there are no new kernels, and those there are go on', async () => {
  const kernel = await user.create({ lang: 'fake', clientSessionToken: 'drained' })
  const begun = await admin.call<Drain>('POST', '/v1/admin/drain')
  assert.deepEqual([begun.body.draining, begun.body.stop], [true, false])
  const refused = await user.call('POST', '/v1/kernel/create', { lang: 'fake' })
  assert.deepEqual([refused.status, refused.body.code], [503, 'draining'])
  assert.ok(refused.headers.get('retry-after'))
  const again = await user.call<{ kernelId: string }>('POST', '/v1/kernel/create', {
    lang: 'fake',
    clientSessionToken: 'drained',
  })
  assert.deepEqual([again.status, again.body.kernelId], [201, kernel])
  assert.equal((await user.run(kernel, 'print on')).stdout, 'on\n')
  assert.equal((await fetch(`${http.url}/readyz`)).status, 503)
  await user.destroy(kernel)
  const told = await admin.call<Drain>('GET', '/v1/admin/drain')
  assert.equal(told.body.sessions, begun.body.sessions - 1)
  assert.equal((await admin.call<Drain>('DELETE', '/v1/admin/drain')).body.draining, false)
  await user.destroy(await user.create({ lang: 'fake' }))
})

test('the audit log tells who did what to what, and what came of it', async () => {
  const { key, client } = await make()
  const kernel = await client.create({ lang: 'fake' })
  await client.call('PATCH', `/v1/kernel/${kernel}`, undefined, { 'x-request-id': 'mine-1' })
  await client.destroy(kernel)
  await client.call('DELETE', `/v1/kernel/${kernel}`)
  await client.call('POST', `${pathOf(key)}/rotate`)
  const entries = await audit(`key=${key.accessKey}`)
  assert.deepEqual(
    entries.map(({ who, action, target, outcome }) => [who, action, target, outcome]),
    [
      [key.accessKey, 'key.rotate', key.accessKey, 'forbidden'],
      [key.accessKey, 'session.end', kernel, 'kernel-gone'],
      [key.accessKey, 'session.end', kernel, 'ok'],
      [key.accessKey, 'session.restart', kernel, 'ok'],
      [key.accessKey, 'session.create', kernel, 'ok'],
      ['AKIAADMIN', 'key.create', key.accessKey, 'ok'],
    ],
  )
  assert.equal(entries[3]?.requestId, 'mine-1')
  assert.deepEqual(await audit(`key=${key.accessKey}&limit=1&after=${entries[0]?.id}`), [entries[1]])
})
