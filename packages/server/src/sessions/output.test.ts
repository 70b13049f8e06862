import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOutput, MAX_STREAM_CHARACTERS, type OutputEvent } from './output.ts'

const at = { seq: 1, id: 'x' }
const stdout = (text: string): OutputEvent => ({ ...at, type: 'stream', name: 'stdout', text })
const display = (data: Record<string, unknown>): OutputEvent => ({
  ...at,
  type: 'display_data',
  data,
  metadata: {},
})

test('stdout is cut at 524,288 characters, not bytes or UTF-16 units, and says so', () => {
  const output = createOutput()
  output.add(stdout('é'.repeat(MAX_STREAM_CHARACTERS - 1)))
  output.add(stdout('😀😀'))
  output.add({ ...at, type: 'stream', name: 'stderr', text: 'whole' })
  const part = output.take()
  assert.equal([...part.stdout].length, MAX_STREAM_CHARACTERS)
  assert.ok(part.stdout.endsWith('é😀'))
  assert.equal(part.stderr, 'whole')
  assert.equal(part.truncated, true)
})

test('exactly 524,288 characters are not truncated', () => {
  const output = createOutput()
  output.add(stdout('😀'.repeat(MAX_STREAM_CHARACTERS)))
  assert.equal(output.take().truncated, false)
})

test('a taken part is not given again, and the next one has its own room', () => {
  const output = createOutput()
  output.add(stdout('a'.repeat(MAX_STREAM_CHARACTERS + 1)))
  assert.equal(output.take().truncated, true)
  output.add(stdout('b'))
  assert.deepEqual(output.take(), { stdout: 'b', stderr: '', media: [], exceptions: [], truncated: false })
})

test('media carries the richest form: text and XML plain, the rest as data URIs', () => {
  const output = createOutput()
  output.add(display({ 'text/plain': '<Figure>', 'image/png': 'aGk=\n' }))
  output.add(display({ 'text/plain': 'x', 'text/html': '<b>x</b>' }))
  output.add(display({ 'image/svg+xml': '<svg/>' }))
  output.add(display({ 'application/json': { a: 1 } }))
  assert.deepEqual(output.take().media, [
    ['image/png', 'data:image/png;base64,aGk='],
    ['text/html', '<b>x</b>'],
    ['image/svg+xml', '<svg/>'],
    ['application/json', `data:application/json;base64,${Buffer.from('{"a":1}').toString('base64')}`],
  ])
})

test('media without end stays bounded', () => {
  const output = createOutput()
  for (let i = 0; i < 5000; i++) output.add(display({ 'text/html': 'x'.repeat(10_000) }))
  const part = output.take()
  assert.ok(part.media.length <= 1000)
  assert.equal(part.truncated, true)
})

test('exceptions and values without end stay bounded, and the whole is counted', () => {
  const output = createOutput()
  const huge = 'x'.repeat(6 * 1024 * 1024)
  for (let i = 0; i < 16; i++) {
    output.add({ ...at, type: 'error', name: 'E', args: [huge], traceback: [], before: false })
    output.add({ ...at, type: 'execute_result', data: { 'text/plain': huge }, metadata: {} })
  }
  assert.ok(output.characters <= 16 * 1024 * 1024, String(output.characters))
  const part = output.take()
  assert.equal(part.exceptions.length, 1)
  assert.equal(part.value?.['text/plain'], huge)
  assert.equal(part.truncated, true)
  assert.equal(output.characters, 0)
  const lines = Array.from({ length: 3_000_000 }, () => '')
  output.add({ ...at, type: 'error', name: 'E', args: lines, traceback: [], before: false })
  assert.deepEqual(output.take().exceptions, [])
})
