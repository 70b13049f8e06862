import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSignatureDate, sign } from './signature.ts'

test('a signature is the one openssl makes of the same request', () => {
  const signature = sign(
    {
      method: 'GET',
      target: '/v1/authorize?a=b%20c',
      date: '2016-12-25T10:11:12.123456+00:00',
      host: '127.0.0.1:8081',
      version: 'v1.20160915',
      body: Buffer.from('{"echo": "x"}'),
    },
    'a-secret-of-the-tests',
    '20161225',
  )
  assert.equal(signature, '6534c2b0dea893b875cd05fe15a4fc5d76e3c9d7725e79b53f51e5c7cf75f45c')
})

test('dates are read as ISO 8601 and RFC 7231 say, in UTC where they name no zone', () => {
  for (const [text, expected, days] of [
    ['2016-12-25T10:11:12.123456+00:00', '2016-12-25T10:11:12.123Z', ['20161225']],
    ['2016-12-25T10:11:12', '2016-12-25T10:11:12.000Z', ['20161225']],
    ['2016-12-25 10:11:12', '2016-12-25T10:11:12.000Z', ['20161225']],
    ['2016-12-25T10:11Z', '2016-12-25T10:11:00.000Z', ['20161225']],
    ['2016-12-26T05:00:00+0900', '2016-12-25T20:00:00.000Z', ['20161225', '20161226']],
    ['Sun, 25 Dec 2016 10:11:12 GMT', '2016-12-25T10:11:12.000Z', ['20161225']],
  ] as const) {
    const date = parseSignatureDate(text)
    assert.equal(date && new Date(date.at).toISOString(), expected, text)
    assert.deepEqual(date?.days, days, text)
  }
})

test('what is no date is none', () => {
  for (const text of ['', 'yesterday', '1482660672', '2016-12-25', '2016-13-45T10:11:12Z', '25 Dec 2016'])
    assert.equal(parseSignatureDate(text), undefined, text)
})
