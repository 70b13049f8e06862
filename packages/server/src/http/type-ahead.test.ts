import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTypeAhead } from './type-ahead.ts'

test('what is typed comes in order; past a bound no more is taken, and after a while the rest is dropped', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const written: number[] = []
  const room: boolean[] = []
  let drops = 0
  const taken: (() => void)[] = []
  const typed = createTypeAhead({
    write: (bytes) => {
      written.push(bytes[0] ?? 0)
      return new Promise((resolve) => taken.push(resolve))
    },
    onRoom: (hasRoom) => room.push(hasRoom),
    onDrop: () => drops++,
  })
  const add = (mark: number): void => typed.add(new Uint8Array(400_000).fill(mark))
  const takeOne = async (): Promise<void> => {
    taken.shift()?.()
    await new Promise(setImmediate)
  }
  add(1)
  add(2)
  assert.deepEqual(room, [])
  add(3)
  assert.deepEqual(room, [false])
  t.mock.timers.tick(4999)
  assert.equal(drops, 0)
  t.mock.timers.tick(1)
  assert.deepEqual([drops, room], [1, [false, true]])
  add(4)
  await takeOne()
  await takeOne()
  add(5)
  await takeOne()
  await takeOne()
  assert.deepEqual(written, [1, 2, 3, 5])
  await takeOne()
  add(6)
  add(7)
  await new Promise(setImmediate)
  // 6 is on its way.
  typed.clear()
  typed.after(async () => void written.push(8))
  add(9)
  await takeOne()
  await takeOne()
  assert.deepEqual(written, [1, 2, 3, 5, 6, 8, 9])
  typed.close()
})
