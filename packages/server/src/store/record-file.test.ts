import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { openRecordFile, type RecordFile } from './record-file.ts'

let folder: string
let name: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'cob-records-'))
  name = path.join(folder, 'records')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** What the next process finds of each group. */
function reread(): Record<string, Record<string, unknown>> {
  const { file, records } = openRecordFile(name)
  file.close()
  const found = [...records].map(([group, values]) => [group, Object.fromEntries(values)])
  for (const [group, values] of records) assert.deepEqual(file.names(group), [...values.keys()])
  return Object.fromEntries(found)
}

test('the next process finds what was put last, whatever was put, dropped and copied before', () => {
  const change = fc.record({
    group: fc.constantFrom('a', 'b', '__proto__'),
    name: fc.constantFrom('c', 'd', 'e'),
    what: fc.oneof(
      fc.constant('drop' as const),
      fc.constant('drop all' as const),
      fc.record({
        value: fc.oneof(
          fc.jsonValue(),
          fc.integer({ min: 30_000, max: 60_000 }).map((length) => 'x'.repeat(length)),
        ),
      }),
    ),
    reopens: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      rmSync(name, { force: true })
      let file: RecordFile = openRecordFile(name).file
      const expected = new Map<string, unknown>()
      for (const { group, name: record, what, reopens } of changes) {
        if (what === 'drop') {
          file.drop(group, [record])
          expected.delete(`${group}/${record}`)
        } else if (what === 'drop all') {
          file.drop(group)
          for (const each of [...expected.keys()]) if (each.startsWith(`${group}/`)) expected.delete(each)
        } else {
          file.put(group, record, what.value)
          expected.set(`${group}/${record}`, what.value)
        }
        if (!reopens) continue
        file.close()
        file = openRecordFile(name).file
      }
      file.close()
      const { file: last, records } = openRecordFile(name)
      last.close()
      const found = [...records].flatMap(([group, values]) =>
        [...values].map(([record, value]) => [`${group}/${record}`, value] as const),
      )
      // As JSON has it: -0 is 0.
      const inOrder = (entries: Iterable<readonly [string, unknown]>): string =>
        JSON.stringify([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
      assert.equal(inOrder(found), inOrder(expected))
    }),
    { numRuns: 60 },
  )
})

test('what does not count any more is left out before it is more than what does, and some', () => {
  const { file } = openRecordFile(name)
  file.put('large', 'it', 'x'.repeat(300_000))
  for (let i = 0; i < 20_000; i++) {
    file.put(`${i % 20}`, 'it', { i })
    assert.ok(statSync(name).size < 2 * 310_000 + 128 * 1024)
  }
  file.drop('large')
  file.put('0', 'it', 'last')
  assert.ok(statSync(name).size < 128 * 1024)
  assert.deepEqual(readdirSync(folder), ['records'])
  assert.deepEqual([file.has('large'), file.has('1')], [false, true])
  file.close()
  assert.deepEqual(reread(), {
    ...Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}`, { it: { i: 19_980 + i } }])),
    0: { it: 'last' },
  })
})

test('a line that was not ended counts for nothing, wherever it was cut, and spoils nothing that comes after it', () => {
  const { file: first } = openRecordFile(name)
  first.put('a', 'it', 1)
  const { size } = statSync(name)
  first.put('b', 'it', '["c","it",2]\n["d","it",3]')
  first.close()
  const bytes = readFileSync(name)
  for (let cut = bytes.length - 1; cut >= size; cut--) {
    writeFileSync(name, bytes.subarray(0, cut))
    assert.deepEqual(reread(), { a: { it: 1 } })
  }
  appendFileSync(name, '\n["a",')
  const { file } = openRecordFile(name)
  file.put('e', 'it', 4)
  file.close()
  assert.equal(readFileSync(name, 'utf8'), '\n["a","it",1]\n["e","it",4]')
  assert.deepEqual(reread(), { a: { it: 1 }, e: { it: 4 } })
})

test('once it is opened again nothing is in the file but what counts, and nobody else can read it', () => {
  const { file } = openRecordFile(name)
  file.put('a', 'it', 'replaced')
  file.put('a', 'it', 1)
  file.put('b', 'it', 'dropped')
  file.drop('b')
  file.close()
  chmodSync(name, 0o644)
  assert.deepEqual(reread(), { a: { it: 1 } })
  assert.equal(readFileSync(name, 'utf8'), '\n["a","it",1]')
  assert.equal(statSync(name).mode & 0o777, 0o600)
})

test('one that is closed writes nothing, and where nothing is written nothing has changed', () => {
  const { file } = openRecordFile(name)
  file.put('a', 'it', 1)
  file.close()
  file.close()
  assert.throws(() => file.put('a', 'it', 2), { code: 'ERR_OUT_OF_RANGE' })
  assert.throws(() => file.drop('a'), { code: 'ERR_OUT_OF_RANGE' })
  assert.deepEqual(file.names('a'), ['it'])
  assert.deepEqual(reread(), { a: { it: 1 } })
})

test('what is written is there where it cannot be copied, which is tried again later', () => {
  const { file } = openRecordFile(name)
  mkdirSync(`${name}.new`)
  for (let i = 0; i < 300; i++) file.put('a', 'it', `${i} ${'x'.repeat(1000)}`)
  assert.ok(statSync(name).size > 300_000)
  rmSync(`${name}.new`, { recursive: true })
  for (let i = 0; i < 300; i++) file.put('a', 'it', i)
  assert.ok(statSync(name).size > 300_000, 'not with each that is written')
  for (let i = 0; i < 200; i++) file.put('a', 'it', `${i} ${'x'.repeat(1000)}`)
  assert.ok(statSync(name).size < 200_000)
  file.close()
  assert.deepEqual(reread(), { a: { it: `199 ${'x'.repeat(1000)}` } })
})
