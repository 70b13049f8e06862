import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../../../../test/support/memory-store.ts'
import { createKey } from './key.ts'
import { observeStore } from './observed-store.ts'

test('a store that is watched answers as before, and tells of each answer, errors among them', () => {
  const told: string[] = []
  const store = observeStore(createMemoryStore(), (operation, durationMs) => {
    assert.ok(durationMs >= 0)
    told.push(operation)
  })
  const key = createKey({ name: 'of a test' })
  store.addKey(key)
  assert.deepEqual(store.findKey(key.accessKey), key)
  assert.throws(() => store.addKey(key))
  assert.deepEqual(store.sessions.tombstones(), [])
  store.close()
  assert.deepEqual(told, ['addKey', 'findKey', 'addKey', 'sessions.tombstones', 'close'])
})
