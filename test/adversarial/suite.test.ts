import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Arena, openArena, type Result } from './arena.ts'
import { ATTACKS } from './attacks.ts'

let arena: Arena
const results: (Result & { group: string })[] = []
before(async () => {
  arena = await openArena()
})
after(async () => {
  await arena.close()
  const width = Math.max(...results.map(({ name }) => name.length))
  for (const { group, name, outcome, ms, safe } of results) {
    const columns = [
      safe ? 'safe' : 'HOLE',
      group.padEnd(15),
      name.padEnd(width),
      `${ms.toFixed(0)} ms`.padStart(8),
    ]
    console.log(`${columns.join('  ')}  ${outcome.slice(0, 90)}`)
  }
})

for (const [group, attacks] of Object.entries(ATTACKS)) {
  describe(group, () => {
    for (const attack of attacks) {
      test(attack.name, async () => {
        const result = await arena.run(attack)
        results.push({ ...result, group })
        assert.ok(result.safe, result.outcome)
      })
    }
  })
}

test('the server has nothing to regret', () => {
  assert.doesNotMatch(arena.errors(), /"level":(50|60)/)
})
