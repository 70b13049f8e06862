import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHoldings } from './holdings.ts'

test('nobody may hold more than what is left for others, and what is given back can be taken again', () => {
  const holdings = createHoldings(1000)
  const [greedy, second, third] = ['greedy', 'second', 'third'].map((owner) => holdings.of(owner))
  const takeAll = (held = greedy): number => {
    let taken = 0
    while (held?.take(1)) taken++
    return taken
  }
  assert.equal(takeAll(greedy), 500)
  assert.equal(takeAll(second), 250)
  assert.equal(takeAll(third), 125)
  assert.equal(second?.take(1), false)
  assert.equal(second?.take(0), true)
  greedy?.give(500)
  assert.equal(second?.take(100), true)
  assert.equal(greedy?.take(263), false)
  assert.equal(holdings.of('greedy').take(262), true)
})
