import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { LAYERS } from '../../packages/server/src/backend/local/layers.ts'
import { openArena } from './arena.ts'
import type { Attack } from './attack.ts'
import { ATTACKS } from './attacks.ts'

/**
 * Every layer earns its place: an attack that the suite sees fail comes through once the layers that hold it are left out. Where two
 * layers hold the same thing, both have to go.
 */

const all = Object.values(ATTACKS).flat()
const sets = new Map<string, Attack[]>()
for (const attack of all) {
  if (attack.layers.length === 0) continue
  const key = [...attack.layers].sort().join(' + ')
  sets.set(key, [...(sets.get(key) ?? []), attack])
}
const lines: string[] = []
after(() => console.log(lines.join('\n')))

for (const [without, attacks] of sets) {
  test(`without ${without}, what it holds gets out`, async () => {
    const arena = await openArena(without.split(' + '))
    try {
      for (const attack of attacks) {
        const { safe, outcome } = await arena.run(attack)
        lines.push(`without ${without.padEnd(36)}  ${attack.name.padEnd(52)}  ${outcome.slice(0, 70)}`)
        assert.equal(safe, false, `${attack.name} is still held: ${outcome}`)
      }
    } finally {
      await arena.close()
    }
  })
}

test('every layer has an attack that it holds', () => {
  const held = new Set(all.flatMap(({ layers }) => layers))
  assert.deepEqual(
    LAYERS.filter((layer) => !held.has(layer)),
    [],
  )
})
