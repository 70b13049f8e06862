import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDeadline } from './deadline.ts'

test('a deadline beyond what one timer holds does not expire at once', () => {
  let expired = false
  const deadline = createDeadline(() => {
    expired = true
  })
  deadline.start(2 ** 40)
  deadline.pause()
  deadline.resume()
  deadline.stop()
  assert.equal(expired, false)
})

test('time while paused does not count', async () => {
  const expired = Promise.withResolvers<number>()
  const startedAt = performance.now()
  const deadline = createDeadline(() => expired.resolve(performance.now() - startedAt))
  deadline.start(40)
  deadline.pause()
  setTimeout(deadline.resume, 60)
  assert.ok((await expired.promise) >= 99)
})

test('a stopped deadline never expires, also when its timer was already due', async () => {
  let expired = false
  const deadline = createDeadline(() => {
    expired = true
  })
  deadline.start(1)
  const until = performance.now() + 5
  while (performance.now() < until);
  deadline.stop()
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal(expired, false)
})
