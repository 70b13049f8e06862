import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { CobError, ERRORS } from './errors.ts'

test('every documented code can be met, and every code that is thrown is documented', () => {
  const thrown = new Set(
    globSync('**/*.ts', { cwd: import.meta.dirname, exclude: ['**/*.test.ts'] }).flatMap((file) =>
      [
        ...readFileSync(`${import.meta.dirname}/${file}`, 'utf8').matchAll(
          /CobError\.of\(\s*'([a-z0-9-]+)'/g,
        ),
      ].map(([, code]) => code),
    ),
  )
  assert.deepEqual([...thrown].sort(), Object.keys(ERRORS).sort())
})

test('an error names what it is about and leaves no gap', () => {
  const error = CobError.of(
    'limits-exceeded',
    { field: 'maxMem', value: 2000, unit: 'KB', max: 1000 },
    { retryAfterS: 3, extra: { reason: 'crashed' } },
  )
  assert.deepEqual(
    [error.code, error.status, error.retryAfterS, error.extra.reason],
    ['limits-exceeded', 406, 3, 'crashed'],
  )
  assert.equal(error.message, 'resourceLimits.maxMem is 2000 KB; this server allows at most 1000 KB.')
})

test('what a client sent is never taken for a placeholder', () => {
  const error = CobError.of('unknown-lang', { lang: '{known} $& {lang}', known: 'python3' })
  assert.equal(error.message, 'There is no kernel type "{known} $& {lang}". Known: python3.')
})

test('what a client sent is repeated in part only', () => {
  const { message } = CobError.of('unsupported-media-type', { type: 'x'.repeat(1_000_000) })
  assert.ok(message.length < 2100)
  assert.match(message, /x…"; send application/)
})
