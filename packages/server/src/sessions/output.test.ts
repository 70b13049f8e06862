import assert from 'node:assert/strict'
import { test } from 'node:test'
import { heldBytes } from '../../../../test/support/memory.ts'
import { createHoldings } from './holdings.ts'
import { createOutput, MAX_STREAM_CHARACTERS, type OutputEvent } from './output.ts'

const newOutput = () => createOutput(createHoldings(2 ** 30).of('owner'))
const at = { seq: 1, id: 'x' }
const stdout = (text: string): OutputEvent => ({ ...at, type: 'stream', name: 'stdout', text })
const display = (data: Record<string, unknown>): OutputEvent => ({
  ...at,
  type: 'display_data',
  data,
  metadata: {},
})

test('stdout is cut at 524,288 characters, not bytes or UTF-16 units, and says so', () => {
  const output = newOutput()
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
  const output = newOutput()
  output.add(stdout('😀'.repeat(MAX_STREAM_CHARACTERS)))
  assert.equal(output.take().truncated, false)
})

test('a taken part is not given again, and the next one has its own room', () => {
  const output = newOutput()
  output.add(stdout('a'.repeat(MAX_STREAM_CHARACTERS + 1)))
  assert.equal(output.take().truncated, true)
  output.add(stdout('b'))
  assert.deepEqual(output.take(), { stdout: 'b', stderr: '', media: [], exceptions: [], truncated: false })
})

test('media carries the richest form: text and XML plain, the rest as data URIs', () => {
  const output = newOutput()
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
  const output = newOutput()
  for (let i = 0; i < 5000; i++) output.add(display({ 'text/html': 'x'.repeat(10_000) }))
  const part = output.take()
  assert.ok(part.media.length <= 1000)
  assert.equal(part.truncated, true)
})

test('exceptions and values without end stay bounded, and the whole is counted', () => {
  const output = newOutput()
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

test('what is kept of a text takes no more memory than it has characters', async () => {
  const whole = 8 * 1024 * 1024
  const outputs = Array.from({ length: 8 }, newOutput)
  const before = await heldBytes()
  for (const output of outputs) {
    // Made here, so that nothing but the output could keep it.
    output.add(stdout('x'.repeat(whole - 1) + Math.random()))
    output.add({ ...at, type: 'stream', name: 'stderr', text: `😀${'x'.repeat(whole)}` })
  }
  assert.ok((await heldBytes()) - before < outputs.length * whole)

  const pieces = newOutput()
  for (let i = 0; i < MAX_STREAM_CHARACTERS; i++) pieces.add(stdout('xy'[i % 2] ?? ''))
  assert.ok((await heldBytes()) - before < (outputs.length + 1) * whole)
  assert.equal(pieces.take().stdout.length, MAX_STREAM_CHARACTERS)
})

test('a value of many small objects is kept as text and given as it was', async () => {
  const outputs = Array.from({ length: 8 }, newOutput)
  const before = await heldBytes()
  for (const output of outputs)
    output.add({
      ...at,
      type: 'execute_result',
      data: { 'a/json': Array.from({ length: 50_000 }, () => ({})) },
      metadata: {},
    })
  assert.ok((await heldBytes()) - before < outputs.length * 1024 * 1024)
  assert.deepEqual(outputs[0]?.take().value, { 'a/json': Array.from({ length: 50_000 }, () => ({})) })
})

test('what would be more than its share is cut, and what nobody wants any more makes room', () => {
  const held = createHoldings(2000).of('owner')
  const [first, second] = [createOutput(held), createOutput(held)]
  first.add(stdout('x'.repeat(900)))
  second.add(stdout('y'.repeat(900)))
  second.add(display({ 'text/html': 'y'.repeat(900) }))
  assert.deepEqual(second.take(), { stdout: '', stderr: '', media: [], exceptions: [], truncated: true })
  first.release()
  second.add(stdout('y'.repeat(900)))
  assert.equal(second.take().stdout.length, 900)
})

test('an update replaces the display of its name where it stands', () => {
  const output = newOutput()
  const shown = (type: 'display_data' | 'update_display_data', html: string, displayId: string) =>
    output.add({ type, data: { 'text/html': html }, metadata: {}, displayId })
  shown('display_data', 'one', 'a')
  shown('display_data', 'two', 'b')
  shown('update_display_data', 'three', 'a')
  shown('update_display_data', 'of nothing', 'c')
  assert.deepEqual(
    output.take().media.map(([, content]) => content),
    ['three', 'two', 'of nothing'],
  )
})

test('what is cleared is gone, at once or when the next output comes, and counts no longer', () => {
  const held = createHoldings(2 ** 20).of('owner')
  const output = createOutput(held)
  output.add(stdout('first'))
  output.add(display({ 'text/html': 'x'.repeat(400_000) }))
  output.add({ type: 'clear_output', wait: false })
  assert.equal(output.characters, 0)
  output.add(stdout('second'))
  output.add({ type: 'clear_output', wait: true })
  assert.equal(output.characters, 6)
  output.add(stdout('third'))
  assert.deepEqual([output.take().stdout, output.characters], ['third', 0])
})
