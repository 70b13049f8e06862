import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toCsv } from './csv.ts'

test('a table reads back whatever stands in it', () => {
  assert.equal(
    toCsv(
      ['a', 'b'],
      [
        { a: 'x,"y"\n', b: 1 },
        { a: null, b: 'ä' },
      ],
    ),
    'a,b\r\n"x,""y""\n",1\r\n,ä\r\n',
  )
  assert.equal(toCsv(['a'], []), 'a\r\n')
})
