import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import {
  createEventLog,
  type EventLog,
  type LogEntry,
  type LogReader,
  MAX_BEHIND,
  STREAMED_TAIL,
} from './event-log.ts'
import { createHoldings } from './holdings.ts'

const newLog = (maxHeld = 2 ** 30, onPressure = (_: boolean) => {}) => {
  const held = createHoldings(maxHeld).of('owner')
  return { held, log: createEventLog({ held, onPressure }) }
}
const text = (characters: number) => ({
  type: 'stream' as const,
  name: 'stdout' as const,
  text: 'x'.repeat(characters),
})
const all = (reader: LogReader): LogEntry[] => {
  const taken: LogEntry[] = []
  for (let more = reader.take(1000); more.length > 0; more = reader.take(1000)) taken.push(...more)
  return taken
}
const idsOf = (entries: readonly LogEntry[]): number[] => entries.map(({ id }) => id)

test('however readers break off and come back, each event reaches them once and in order', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('append' as const), characters: fc.nat(300_000) }),
    fc.record({ do: fc.constant('read' as const), characters: fc.nat(2_000_000) }),
    fc.record({ do: fc.constant('break off' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { log } = newLog()
      let appended = 0
      let read = 0
      let reader = log.open(0, () => {})
      const check = (entries: readonly LogEntry[]): void => {
        for (const entry of entries) {
          const { id } = entry
          assert.equal(id, ++read)
          assert.equal(JSON.parse(entry.toJson()).id, id)
        }
      }
      for (const next of steps) {
        if (next.do === 'append') {
          log.append(text(next.characters))
          appended++
        } else if (next.do === 'read') check(reader.take(next.characters))
        else {
          reader.close()
          reader = log.open(read, () => {})
        }
      }
      log.end()
      check(all(reader))
      assert.equal(read, appended)
      assert.equal(reader.state, 'ended')
      reader.close()
    }),
  )
})

test('a reader far behind presses until it has caught up, also one that went away, until another comes', () => {
  const pressure: boolean[] = []
  const { log } = newLog(2 ** 30, (isPressing) => pressure.push(isPressing))
  const reader = log.open(0, () => {})
  log.append(text(MAX_BEHIND / 2))
  assert.deepEqual(pressure, [])
  log.append(text(MAX_BEHIND))
  assert.deepEqual(pressure, [true])
  reader.take(1)
  assert.deepEqual(pressure, [true])
  reader.close()
  const next = log.open(1, () => {})
  assert.deepEqual(pressure, [true, false, true])
  assert.deepEqual(idsOf(all(next)), [2])
  assert.deepEqual(pressure, [true, false, true, false])
  next.close()
  log.append(text(MAX_BEHIND))
  log.end()
  assert.deepEqual(pressure.at(-1), false)
})

test('what was read stays for a while, as far as the bound goes', () => {
  const { log, held } = newLog()
  const reader = log.open(0, () => {})
  for (let i = 0; i < 40; i++) {
    log.append(text(1_000_000))
    reader.take(1)
  }
  assert.ok(log.characters <= STREAMED_TAIL + 1_001_000)
  assert.ok(log.firstId > 20 && log.firstId < 30)
  const late = log.open(3, () => {})
  assert.equal(late.state, 'lost')
  assert.deepEqual(late.take(1), [])
  log.shrink(0)
  assert.equal(log.characters, 0)
  assert.equal(held.take(2 ** 29), true)
})

test('what may not be held pushes out what was read, and a reader that needed it is told', () => {
  const { log } = newLog(1_000_000)
  const reader = log.open(0, () => {})
  for (let i = 0; i < 4; i++) {
    log.append(text(200_000))
    assert.equal(reader.take(1).length, 1)
  }
  assert.ok(log.firstId > 1)
  for (let i = 0; i < 4; i++) log.append(text(200_000))
  assert.equal(reader.state, 'lost')
  log.append(text(2_000_000))
  assert.equal(log.firstId, log.nextId)
})

test('what nobody waits for makes room for what its owner needs', () => {
  const { log, held } = newLog(1_000_000)
  log.append(text(300_000))
  log.end()
  assert.equal(held.take(450_000), true)
  assert.equal(log.characters, 0)
})

test('lines are ASCII, whatever the code printed', () => {
  const { log } = newLog()
  log.append({ type: 'stream', name: 'stderr', text: 'é😀\ud800\u2028\n\u007f' })
  const json = log.entries()[0]?.toJson() ?? ''
  assert.match(json, /^[\x20-\x7e]+$/)
  assert.equal(JSON.parse(json).text, 'é😀\ud800\u2028\n\u007f')
})

test('what is not counted is not held: neither events that were dropped nor the objects of those that are kept', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heldBytes = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const megabyte = 1_000_000
  const fill = (log: EventLog, count: number): void => {
    for (let i = 0; i < count; i++) {
      const html = Buffer.alloc(megabyte, `${i} `).toString()
      log.append({ type: 'display', data: { 'text/html': html }, metadata: {} })
    }
  }
  for (const isRead of [false, true]) {
    const before = heldBytes()
    const { log } = newLog()
    if (isRead) log.open(0, () => {})
    fill(log, 12)
    const grown = heldBytes() - before
    assert.ok(grown < log.characters + 3 * megabyte, `${grown} bytes for ${log.characters} characters`)
  }
})
