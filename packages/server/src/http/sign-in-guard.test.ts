import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSignInGuard, type SignIn } from './sign-in-guard.ts'

const GUESS: SignIn = { network: '192.0.2.7', accessKey: 'AKIAEXAMPLE', secret: 'wrong' }

function createFixture() {
  let time = 1_000_000
  const guard = createSignInGuard(() => time)
  return {
    guard,
    pass: (ms: number) => {
      time += ms
    },
    fail: (times: number, attempt: Partial<SignIn> = {}) => {
      let last = 0
      for (let i = 0; i < times; i++) last = guard.failed({ ...GUESS, ...attempt })
      return last
    },
  }
}

test('who mistypes a key is told to wait for a second, after ten times and no sooner', () => {
  const { fail, pass } = createFixture()
  assert.equal(fail(10), 0)
  assert.equal(fail(1), 1000)
  pass(2000)
  assert.equal(fail(1), 0)
})

test('however often a network has failed, ten seconds later it is not told to wait', () => {
  const { fail, pass } = createFixture()
  assert.equal(fail(10_000), 1000)
  pass(11_000)
  assert.equal(fail(1), 0)
})

test('who guesses at one key has a hundred guesses, and one a second from then on', () => {
  const { guard, fail, pass } = createFixture()
  fail(99)
  assert.equal(guard.waitMs(GUESS), 0)
  fail(1)
  assert.equal(guard.waitMs(GUESS), 1000)
  pass(1000)
  assert.equal(guard.waitMs(GUESS), 0)
  fail(1)
  assert.equal(guard.waitMs(GUESS), 1000)
})

test('guesses at one key slow down no other key, and no other network', () => {
  const { guard, fail } = createFixture()
  fail(200)
  assert.equal(guard.waitMs({ ...GUESS, accessKey: 'AKIAOTHER' }), 0)
  assert.equal(guard.waitMs({ ...GUESS, network: '192.0.2.8' }), 0)
})

test('a secret that was right from a network is compared at once, whoever guesses there', () => {
  const { guard, fail } = createFixture()
  const right = { ...GUESS, secret: 'the right one' }
  guard.succeeded(right)
  fail(200)
  assert.equal(guard.waitMs(right), 0)
  assert.equal(guard.waitMs(GUESS), 1000)
  assert.equal(guard.waitMs({ ...right, secret: undefined }), 1000)
  const next = { ...GUESS, secret: 'the next one' }
  guard.succeeded(next)
  assert.deepEqual([guard.waitMs(next), guard.waitMs(right)], [0, 1000])
})

test('what is remembered has a bound, and a guesser does not get past it', () => {
  const { guard, fail, pass } = createFixture()
  fail(100)
  for (let i = 0; i < 49_000; i++) fail(1, { accessKey: `AKIA${i}` })
  assert.equal(guard.waitMs(GUESS), 1000)
  pass(3000)
  for (let i = 0; i < 51_000; i++) fail(1, { accessKey: `AKIB${i}` })
  assert.equal(guard.waitMs(GUESS), 0)
})
