import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../observe/logger.ts'
import { createPatientWriter } from './patient-writer.ts'

test('what cannot be written is written when it can be, in order and once', () => {
  const written: number[] = []
  let tries = 0
  let isWritable = true
  const { write, sweep } = createPatientWriter<number>(
    (record) => {
      tries++
      if (!isWritable) throw new Error('disk full')
      written.push(record)
    },
    { logger: createLogger('silent'), what: 'A number' },
  )
  write(1)
  isWritable = false
  for (const record of [2, 3, 4]) write(record)
  sweep()
  // One try for the first of them, and one for the sweep: nobody waits for each.
  assert.equal(tries, 3)
  isWritable = true
  write(5)
  assert.deepEqual(written, [1])
  sweep()
  sweep()
  assert.deepEqual(written, [1, 2, 3, 4, 5])
})

test('what could not be written to the end is in the log', () => {
  const logged: unknown[] = []
  const logger = { ...createLogger('silent'), error: (fields: unknown) => void logged.push(fields) }
  const { write, close } = createPatientWriter<number>(
    () => {
      throw new Error('disk full')
    },
    { logger, what: 'A number' },
  )
  write(1)
  write(2)
  close()
  close()
  assert.deepEqual(logged.slice(-2), [{ record: 1 }, { record: 2 }])
})
