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

/** What the self-test at the start does not notice: a share of CPU time takes seconds to measure, and the agent hides descriptors. */
const BEYOND_SELF_TEST = ['cpu-limit']

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
      const isNoticed = arena.errors().includes('the self-test found holes')
      assert.equal(isNoticed, !BEYOND_SELF_TEST.includes(without), arena.errors())
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

test('a server whose self-test finds a hole refuses to serve, and says which', async () => {
  await assert.rejects(
    openArena(['undumpable-agent'], { refuses: true }),
    /Code can get out.*agent: reading .proc.1/s,
  )
})

test('every layer has an attack that it holds', () => {
  const held = new Set(all.flatMap(({ layers }) => layers))
  assert.deepEqual(
    LAYERS.filter((layer) => !held.has(layer)),
    [],
  )
})
