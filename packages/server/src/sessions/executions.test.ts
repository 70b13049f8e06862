import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createExecutions, totalCharacters } from './executions.ts'
import { createHoldings, type Held } from './holdings.ts'

const newExecutions = (maxQueued: number, held: Held) =>
  createExecutions({ maxQueued, held, onPressure: () => {}, onEnd: () => {}, onRecord: () => {} })

test('results that nobody fetches are bounded in number and in size, the oldest going first', () => {
  const executions = newExecutions(1, createHoldings(2 ** 30).of('owner'))
  const finish = (characters: number): string => {
    const { id } = executions.add('kernel', 'code', undefined)
    const display = { seq: 1, id, type: 'display_data', metadata: {} } as const
    executions.startNext(0)?.add({ ...display, data: { 'text/html': 'x'.repeat(characters) } })
    executions.finishCurrent({ seq: 2, id, type: 'execute_reply', status: 'ok', durationMs: 0 })
    return id
  }
  const ids = Array.from({ length: 20 }, () => finish(10))
  assert.deepEqual(
    executions.ended().map(({ id }) => id),
    ids.slice(4),
  )
  for (let i = 0; i < 20; i++) finish(15 * 1024 * 1024)
  const last = finish(10)
  assert.ok(executions.ended().length < 5)
  assert.ok(totalCharacters(executions.ended()) <= 32 * 1024 * 1024)
  assert.ok(executions.find(last))
})

test('code that waits or runs counts as held until it has ended, then nothing of it does', () => {
  const held = createHoldings(400_000).of('owner')
  const executions = newExecutions(16, held)
  const code = 'x'.repeat(90_000)
  const add = () => executions.add('kernel', code, undefined)
  add()
  executions.startNext(0)
  add()
  assert.throws(add, /Code, environments and results/)
  executions.add('kernel', 'small code always runs', undefined)
  executions.endAll({ status: 'terminated', reason: 'restarted' })
  assert.ok(executions.ended().every((execution) => execution.code === ''))
  assert.equal(held.take(200_000), true)
})
