import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTemporaryStore } from '../../../../test/support/temporary-store.ts'
import { openFirstKey } from './first-key.ts'
import { formatKey } from './key.ts'

function start(content?: string) {
  const files = new Map(content === undefined ? [] : [['bootstrap-key', content]])
  return {
    store: createTemporaryStore(),
    files: {
      read: (name: string) => files.get(name),
      write: (name: string, text: string) => void files.set(name, text),
    },
    kept: () => files.get('bootstrap-key'),
  }
}

test('the first key is an admin, kept for the command, and the same at the next start', () => {
  const { store, files, kept } = start()
  const first = openFirstKey(store, files, undefined)
  assert.deepEqual([first.created, first.key.role], [true, 'admin'])
  assert.equal(kept(), `${formatKey(first.key)}\n`)
  assert.deepEqual(openFirstKey(store, files, undefined), { key: first.key, created: false })
})

test('a first key from before there were roles becomes an admin, unless there is another', () => {
  const { store, files } = start()
  const { key } = openFirstKey(store, files, undefined)
  store.changeKey(key.accessKey, (old) => ({ ...old, role: 'user' }))
  assert.equal(openFirstKey(store, files, undefined).key.role, 'admin')
  store.addKey({ ...key, accessKey: 'AKIAADMIN' })
  store.changeKey(key.accessKey, (old) => ({ ...old, role: 'user' }))
  assert.equal(openFirstKey(store, files, undefined).key.role, 'user')
})

test('the file follows when the secret was rotated', () => {
  const { store, files, kept } = start()
  const { key } = openFirstKey(store, files, undefined)
  store.changeKey(key.accessKey, (old) => ({ ...old, secretKey: 'the-new-secret' }))
  assert.equal(openFirstKey(store, files, undefined).key.secretKey, 'the-new-secret')
  assert.equal(kept(), `${key.accessKey}:the-new-secret\n`)
})

test('a key that is asked for is good while its secret is, and refused with another', () => {
  const { store, files } = start()
  const { key } = openFirstKey(store, files, 'AKIAWANTED:wanted-secret')
  const rotate = (validUntil: number): unknown =>
    store.changeKey(key.accessKey, (old) => ({
      ...old,
      secretKey: 'the-new-secret',
      previous: { secretKey: 'wanted-secret', validUntil },
    }))
  rotate(Date.now() + 60_000)
  assert.equal(openFirstKey(store, files, 'AKIAWANTED:wanted-secret').created, false)
  rotate(1)
  assert.throws(
    () => openFirstKey(store, files, 'AKIAWANTED:wanted-secret'),
    /AKIAWANTED, which exists with another secret/,
  )
})
