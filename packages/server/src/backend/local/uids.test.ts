import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createUids } from './uids.ts'

test('ids in use are not handed out, and one that came back rests as long as possible', () => {
  const uids = createUids(100, 3)
  assert.deepEqual([uids.take(), uids.take()], [100, 101])
  uids.give(100)
  assert.deepEqual([uids.take(), uids.take()], [102, 100])
  assert.throws(() => uids.take(), /all 3 user ids from 100/)
  uids.give(101)
  assert.equal(uids.take(), 101)
})
