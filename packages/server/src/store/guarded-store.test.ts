import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../../../../test/support/memory-store.ts'
import { CobError } from '../errors.ts'
import { guardStore, type StoreAnswer } from './guarded-store.ts'
import { createKey } from './key.ts'

test('a store that is guarded answers as before, tells of each answer, and its faults are not-recorded', () => {
  const told: StoreAnswer[] = []
  const store = guardStore(createMemoryStore(), (answer) => {
    assert.ok(answer.durationMs >= 0)
    told.push(answer)
  })
  const key = createKey({ name: 'of a test' })
  store.addKey(key)
  assert.deepEqual(store.findKey(key.accessKey), key)
  const fault = { code: 'not-recorded', message: /UNIQUE constraint failed/ }
  assert.throws(() => store.addKey(key), fault)
  const refuse = (): never => {
    throw CobError.of('last-admin', { accessKey: key.accessKey })
  }
  assert.throws(() => store.changeKey(key.accessKey, refuse), { code: 'last-admin' })
  assert.deepEqual(store.sessions.tombstones(), [])
  store.close()
  assert.deepEqual(
    told.map(({ operation, isError }) => operation + (isError ? ' failed' : '')),
    ['addKey', 'findKey', 'addKey failed', 'changeKey', 'sessions.tombstones', 'close'],
  )
})
