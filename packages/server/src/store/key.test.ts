import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKey, formatKey, parseKey } from './key.ts'

test('a new key is of its own, and reads back from its written form', () => {
  const keys = Array.from({ length: 100 }, () => createKey({ name: 'of a test' }))
  assert.equal(new Set(keys.map(formatKey)).size, 100)
  for (const { accessKey, secretKey, name, disabledAt, ...rest } of keys) {
    assert.match(accessKey, /^AK[0-9A-F]{20}$/)
    assert.match(secretKey, /^[A-Za-z0-9_-]{40}$/)
    assert.deepEqual([name, disabledAt], ['of a test', null])
    assert.deepEqual(parseKey(formatKey({ accessKey, secretKey, ...rest })), { accessKey, secretKey })
  }
})

test('what is not accessKey:secretKey is no key', () => {
  for (const text of [
    '',
    'AKIA',
    'AKIA:',
    ':secretsecret',
    'AKI A:secretsecret',
    'AKIA:secret secret',
    'AKIA:secret\nsecret',
  ])
    assert.equal(parseKey(text), undefined, JSON.stringify(text))
})
