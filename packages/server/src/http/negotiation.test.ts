import assert from 'node:assert/strict'
import { test } from 'node:test'
import { negotiate, parseWaitS } from './negotiation.ts'

test('Prefer: wait is found among other preferences, in any case, quoted or not', () => {
  for (const [prefer, expected] of [
    [undefined, undefined],
    ['respond-async', undefined],
    ['waiting=soon, handling=lenient', undefined],
    ['respond-async, WAIT=5', 5],
    ['wait="7"; foo=bar', 7],
    ['wait = 0', 0],
    ['wait=3600', 3600],
    ['wait=1, wait=2', 1],
    ['foo="a, wait=soon"', undefined],
    ['foo="a \\", wait=soon", wait=3', 3],
    ['foo="never closed, wait=soon', undefined],
  ] as const)
    assert.equal(parseWaitS(prefer), expected, prefer)
  assert.equal(parseWaitS(['respond-async', 'wait=4']), 4)
})

test('a wait that is no number of seconds is ignored, one beyond an hour is an hour', () => {
  for (const value of ['wait', 'wait=', 'wait=soon', 'wait=-1', 'wait=1.5', 'wait=5s'])
    assert.equal(parseWaitS(value), undefined, value)
  assert.equal(parseWaitS('wait=soon, wait=3'), 3)
  for (const value of ['3601', '99999', '9'.repeat(400)])
    assert.equal(parseWaitS(`wait=${value}`), 3600, value)
})

test('a Prefer header of nothing but quotes takes no time', () => {
  const startedAt = performance.now()
  parseWaitS('"\\'.repeat(8000))
  parseWaitS('"\\"'.repeat(5000))
  assert.ok(performance.now() - startedAt < 200)
})

test('Accept chooses by weight, then by the order of the offers', () => {
  const offers = ['application/json', 'text/event-stream', 'application/x-ndjson'] as const
  for (const [accept, expected] of [
    [undefined, 'application/json'],
    ['', 'application/json'],
    ['*/*', 'application/json'],
    ['text/html, */*;q=0.8', 'application/json'],
    ['text/*', 'text/event-stream'],
    ['application/x-ndjson', 'application/x-ndjson'],
    ['Text/Event-Stream;charset=utf-8', 'text/event-stream'],
    ['text/event-stream, application/json', 'application/json'],
    ['application/json;q=0.5, text/event-stream', 'text/event-stream'],
    ['application/json; q=0, */*;q=0.1', 'text/event-stream'],
  ] as const)
    assert.equal(negotiate(accept, offers), expected, accept)
  for (const accept of ['text/html', 'application/json;q=0', '*/*;q=0.0'])
    assert.throws(() => negotiate(accept, offers), {
      code: 'not-acceptable-type',
      message: /application\/x-ndjson/,
    })
})
