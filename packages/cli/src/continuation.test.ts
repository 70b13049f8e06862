import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isUnfinished } from './continuation.ts'

test('a line goes on while a bracket is open, after a colon or a backslash, until an empty line', () => {
  for (const [lines, expected] of [
    [['1 + 1'], false],
    [['f('], true],
    [['f(', '1)'], false],
    [['if x:'], true],
    [['if x:', '    y'], true],
    [['if x:', '    y', ''], false],
    [['x = 1 + \\'], true],
    [['"(" + \'[\''], false],
    [['function f() {'], true],
    [['function f() {', '}'], false],
    [["it's (", ')'], false],
    [[''], false],
  ] as const)
    assert.equal(isUnfinished(lines), expected, lines.join('|'))
})
