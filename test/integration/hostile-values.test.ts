import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

/** Runs code and gives its status, value, and the name and message of its exception. */
async function outcome(kernel: string, code: string): Promise<unknown[]> {
  const { status, value, exceptions } = await server.run(kernel, code)
  const [name, args] = exceptions[0] ?? []
  return [status, value?.['text/plain'], name, args?.[0]]
}

test('lua: what __tostring raises is an error of the code, not an interrupt', async () => {
  const kernel = await server.create({ lang: 'lua' })
  const object = 'setmetatable({}, { __tostring = function() error("no text") end })'
  assert.deepEqual(await outcome(kernel, `x = 1 return ${object}`), [
    'finished',
    undefined,
    'Error',
    '(execution 1):1: no text',
  ])
  const thrown = await outcome(kernel, `error(${object})`)
  assert.deepEqual(
    [thrown[0], thrown[2], /cannot be had/.test(String(thrown[3]))],
    ['finished', 'Error', true],
  )
  const notText = await outcome(kernel, 'return setmetatable({}, { __tostring = function() return {} end })')
  assert.deepEqual([notText[0], notText[2]], ['finished', 'Error'])
  assert.deepEqual(await outcome(kernel, 'return x, nil'), ['finished', '1\tnil', undefined, undefined])
})

test('ruby: exceptions and values whose methods raise are told of, and variables stay', async () => {
  const kernel = await server.create({ lang: 'ruby' })
  await server.run(kernel, 'x = 1')
  const raising = 'class Z < StandardError; def message; raise "q"; end; end; raise Z'
  assert.deepEqual(await outcome(kernel, raising), ['finished', undefined, 'Z', 'its message cannot be had'])
  const lying =
    'class Y < StandardError; def backtrace; raise "q"; end; def self.name; raise; end; end; raise Y, "text"'
  assert.deepEqual(await outcome(kernel, lying), ['finished', undefined, 'Y', 'text'])
  assert.deepEqual((await outcome(kernel, 'Class.new(StandardError).then { raise _1, "text" }')).slice(2), [
    'an exception without a name',
    'text',
  ])
  assert.deepEqual(await outcome(kernel, 'BasicObject.new'), [
    'finished',
    '#<BasicObject>',
    undefined,
    undefined,
  ])
  assert.deepEqual(await outcome(kernel, 'x'), ['finished', '1', undefined, undefined])
})
