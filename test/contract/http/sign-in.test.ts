import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Problem } from '@cob/protocol'
import { BEARER, type HttpFixture, KEY, startHttp } from '../../support/http-fixture.ts'

async function start(t: TestContext) {
  let time = Date.now()
  const http = await startHttp({ now: () => time })
  t.after(() => http.close())
  return {
    http,
    pass: (ms: number) => {
      time += ms
    },
  }
}

async function signIn(http: HttpFixture, authorization: string) {
  const response = await fetch(`${http.url}/v1/kernels`, { headers: { authorization } })
  // Every answer is of one of the two.
  const { detail } = (await response.json()) as Partial<Problem>
  return { status: response.status, retryAfter: response.headers.get('retry-after'), detail }
}

test('who mistypes a key again and again is told to wait for a second, and the right key is taken at once', async (t) => {
  const { http } = await start(t)
  const answers = []
  for (let i = 0; i < 50; i++) answers.push(await signIn(http, `Bearer ${KEY.accessKey}:wrong-${i}`))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([401]))
  assert.deepEqual(
    answers.map(({ retryAfter }) => retryAfter),
    answers.map((_, i) => (i < 10 ? null : '1')),
  )
  assert.equal((await signIn(http, BEARER)).status, 200)
})

test('names that are no key slow down nobody who has one', async (t) => {
  const { http } = await start(t)
  for (let i = 0; i < 150; i++) await signIn(http, `Bearer AKIANOBODY${i}:${KEY.secretKey}`)
  assert.equal((await signIn(http, `Bearer AKIANOBODY:${KEY.secretKey}`)).retryAfter, '1')
  assert.equal((await signIn(http, BEARER)).status, 200)
})

test('a secret that somebody guesses at is compared once a second, even if it is right', async (t) => {
  const { http, pass } = await start(t)
  for (let i = 0; i < 100; i++) await signIn(http, `Bearer ${KEY.accessKey}:guess-${i}`)
  const refused = await signIn(http, BEARER)
  assert.deepEqual([refused.status, refused.retryAfter], [401, '1'])
  assert.match(refused.detail ?? '', /compared once a second/)
  pass(1000)
  assert.equal((await signIn(http, BEARER)).status, 200)
})

test('who has signed in before is not slowed down by guesses at their key, nor are guesses let through with them', async (t) => {
  const { http } = await start(t)
  assert.equal((await signIn(http, BEARER)).status, 200)
  for (let i = 0; i < 150; i++) await signIn(http, `Bearer ${KEY.accessKey}:guess-${i}`)
  assert.equal((await signIn(http, BEARER)).status, 200)
  assert.match((await signIn(http, `Bearer ${KEY.accessKey}:guess`)).detail ?? '', /compared once a second/)
})

test('guesses by signatures count like others, and are refused before the body is read', async (t) => {
  const { http } = await start(t)
  const authorization = `Sorna signMethod=HMAC-SHA256, credential=${KEY.accessKey}:${'0'.repeat(64)}`
  const headers = { authorization, 'x-sorna-version': 'v1.20160915', date: new Date().toUTCString() }
  for (let i = 0; i < 100; i++) assert.equal((await fetch(`${http.url}/v1/kernels`, { headers })).status, 401)
  const response = await fetch(`${http.url}/v1/kernels`, { headers })
  assert.match(((await response.json()) as Problem).detail, /compared once a second/)
})

test('requests without a key, such as a browser sends, are no failed sign-ins', async (t) => {
  const { http } = await start(t)
  for (let i = 0; i < 30; i++) {
    const response = await fetch(`${http.url}/v1/kernels`)
    assert.deepEqual([response.status, response.headers.get('retry-after')], [401, null])
  }
})
