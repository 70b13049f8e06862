import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRateLimiter } from './rate-limit.ts'

test('requests are counted apart for each caller, until the window ends', () => {
  let now = 0
  const limiter = createRateLimiter(() => now)
  assert.deepEqual(limiter.take('a', 2), { limit: 2, remaining: 1, resetMs: 900_000, exceeded: false })
  now = 1000
  assert.deepEqual(limiter.take('a', 2), { limit: 2, remaining: 0, resetMs: 899_000, exceeded: false })
  assert.deepEqual(limiter.take('a', 2), { limit: 2, remaining: 0, resetMs: 899_000, exceeded: true })
  assert.equal(limiter.take('b', 2).exceeded, false)
  now = 899_999
  assert.equal(limiter.take('a', 2).exceeded, true)
  now = 900_000
  assert.deepEqual(limiter.take('a', 2), { limit: 2, remaining: 1, resetMs: 900_000, exceeded: false })
})

test('of more callers than are kept, the one whose window ends first is forgotten', () => {
  const limiter = createRateLimiter(() => 0)
  limiter.take('first', 1)
  limiter.take('second', 1)
  for (let i = 0; i < 99_999; i++) limiter.take(`other ${i}`, 1)
  assert.equal(limiter.take('second', 1).exceeded, true)
  assert.equal(limiter.take('first', 1).exceeded, false)
})
