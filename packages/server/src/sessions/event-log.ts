import type { ExecutionEvent } from '@cob/protocol'
import type { Held } from './holdings.ts'

type Unnumbered<Event> = Event extends unknown ? Omit<Event, 'id'> : never
/** An event as an execution has it, before it gets its number. */
export type NewEvent = Unnumbered<ExecutionEvent>

/** One event. */
export interface LogEntry {
  readonly id: number
  readonly type: ExecutionEvent['type']
  /** Characters it holds. */
  readonly size: number
  /** Of ASCII characters only, without line breaks. */
  toJson(): string
}

/** Characters kept behind the slowest reader: what a broken connection may have swallowed, and a new one asks for again. */
export const STREAMED_TAIL = 12 * 1024 * 1024
/** The same where nobody has read yet. */
const UNREAD_TAIL = 256 * 1024
/** Characters a reader may be behind before the code has to wait. */
export const MAX_BEHIND = 4 * 1024 * 1024
/** How long the code waits for a reader that went away. */
const RETURN_MS = 60_000
/** Entries that are dropped but not cut off the list yet; `NOTHING` stands in their places, which may have held megabytes. */
const MAX_DROPPED = 32
const NOTHING: LogEntry = { id: 0, type: 'stream', size: 0, toJson: () => '' }
/** What an entry costs besides its text. */
const ENTRY_CHARACTERS = 64

/** One who reads along. */
export interface LogReader {
  /** The next entries, about `characters` of them at most; none: nothing new yet. */
  take(characters: number): readonly LogEntry[]
  /** `ended`: there is nothing more and never will be. `lost`: what comes next is not kept any more. */
  readonly state: 'open' | 'ended' | 'lost'
  /** Idempotent. Whoever goes before the end is waited for a while, as far as {@link MAX_BEHIND} goes. */
  close(): void
}

export interface EventLogOptions {
  readonly held: Held
  /** True: a reader is so far behind that the code has to wait. */
  readonly onPressure: (isPressing: boolean) => void
}

/** The events of one execution, as many of the last ones as the bounds allow. Numbers rise by one from 1. */
export interface EventLog {
  append(event: NewEvent): void
  /** Before all others: what comes before number `firstId` is not kept, and what was read of the rest by another server is not known. */
  restore(firstId: number): void
  /** Nothing follows: readers come to their end. */
  end(): void
  /** Nothing follows here: readers come to their end, wherever they are, and go on at another server. */
  leave(): void
  /** Reads what follows number `after`. `onMore` is called when there may be something to take, or the state is another one. */
  open(after: number, onMore: () => void): LogReader
  /** Of the oldest entry that is kept, or the next one. */
  readonly firstId: number
  readonly nextId: number
  /** All that is kept. */
  entries(): readonly LogEntry[]
  readonly characters: number
  /** Drops all but the newest `keep` characters, whoever reads. */
  shrink(keep: number): void
}

interface Cursor {
  nextId: number
  readonly onMore: () => void
}

export function createEventLog({ held, onPressure }: EventLogOptions): EventLog {
  const cursors = new Set<Cursor>()
  const awaited = new Map<Cursor, NodeJS.Timeout>()
  let entries: LogEntry[] = []
  // Entries before this index are dropped; they are cut off now and then.
  let dropped = 0
  // Characters of all entries there ever were up to the first kept, and up to the last.
  let droppedCharacters = 0
  let appended = 0
  let nextId = 1
  let isStreamed = false
  let isPressing = false
  let isOver = false
  let isLeft = false
  // Where each reader is, in characters of the whole.
  const positions = new Map<Cursor, number>()

  const firstId = (): number => nextId - (entries.length - dropped)
  const entryAt = (id: number): LogEntry | undefined => entries[id - nextId + entries.length]
  const dropFirst = (): void => {
    const first = entries[dropped]
    if (!first) return
    const { size } = first
    entries[dropped++] = NOTHING
    droppedCharacters += size
    held.give(size)
    if (dropped < MAX_DROPPED || dropped < entries.length / 2) return
    entries = entries.slice(dropped)
    dropped = 0
  }
  const slowest = (): number => Math.min(appended, ...positions.values())
  const trim = (): void => {
    const keepFrom = slowest() - (isStreamed ? STREAMED_TAIL : UNREAD_TAIL)
    for (let first = entries[dropped]; first; first = entries[dropped]) {
      if (droppedCharacters + first.size > keepFrom) break
      dropFirst()
    }
  }
  const press = (): void => {
    const should = !isOver && appended - slowest() > MAX_BEHIND
    if (should === isPressing) return
    isPressing = should
    onPressure(should)
  }
  const leave = (cursor: Cursor): void => {
    clearTimeout(awaited.get(cursor))
    awaited.delete(cursor)
    positions.delete(cursor)
    trim()
    press()
  }
  const wake = (): void => {
    for (const { onMore } of cursors) onMore()
  }

  // What nobody waits for goes when its owner needs the room.
  const settle = held.mayReclaim(() => {
    const keepFrom = slowest()
    while (dropped < entries.length && droppedCharacters < keepFrom) dropFirst()
    if (isOver && dropped === entries.length) settle()
  })

  return {
    append(event) {
      const entry = toEntry(nextId, event)
      const { size } = entry
      // What its owner may not hold pushes out what is older; a reader that needs that is told.
      while (!held.take(size)) {
        if (dropped === entries.length) {
          nextId++
          wake()
          return
        }
        dropFirst()
      }
      nextId++
      entries.push(entry)
      appended += size
      trim()
      press()
      wake()
    },
    restore(firstId) {
      nextId = firstId
      isStreamed = true
    },
    leave() {
      isLeft = true
      wake()
    },
    end() {
      isOver = true
      for (const cursor of [...awaited.keys()]) leave(cursor)
      press()
      wake()
    },
    open(after, onMore) {
      for (const cursor of [...awaited.keys()]) leave(cursor)
      isStreamed = true
      const cursor = { nextId: Math.max(after + 1, 1), onMore }
      const behind = entries.slice(Math.max(dropped, cursor.nextId - nextId + entries.length))
      positions.set(cursor, appended - behind.reduce((sum, { size }) => sum + size, 0))
      cursors.add(cursor)
      press()
      return {
        take(characters) {
          const taken: LogEntry[] = []
          if (isLeft) return taken
          let left = characters
          for (let entry = entryAt(cursor.nextId); entry && left > 0; entry = entryAt(cursor.nextId)) {
            if (cursor.nextId < firstId()) break
            taken.push(entry)
            cursor.nextId++
            left -= entry.size
            positions.set(cursor, (positions.get(cursor) ?? 0) + entry.size)
          }
          if (taken.length > 0) {
            trim()
            press()
          }
          return taken
        },
        get state() {
          if (isLeft) return 'ended'
          if (cursor.nextId < firstId()) return 'lost'
          return isOver && cursor.nextId >= nextId ? 'ended' : 'open'
        },
        close() {
          if (!cursors.delete(cursor)) return
          if (isOver || cursor.nextId < firstId()) leave(cursor)
          else awaited.set(cursor, setTimeout(() => leave(cursor), RETURN_MS).unref())
        },
      }
    },
    get firstId() {
      return firstId()
    },
    get nextId() {
      return nextId
    },
    entries: () => entries.slice(dropped),
    get characters() {
      return appended - droppedCharacters
    },
    shrink(keep) {
      while (appended - droppedCharacters > keep) dropFirst()
      if (isOver && dropped === entries.length) settle()
      wake()
    },
  }
}

/** Text is serialised when it is read, which most of it never is. Other things at once: as objects they take many times the space. */
function toEntry(id: number, event: NewEvent): LogEntry {
  const { type } = event
  if (type === 'stream')
    return { id, type, size: event.text.length + ENTRY_CHARACTERS, toJson: () => toAscii({ id, ...event }) }
  return toSerialised(id, type, toAscii({ id, ...event }))
}

/** Apart from where the event is at hand: a function keeps all that any other made beside it refers to. */
function toSerialised(id: number, type: LogEntry['type'], json: string): LogEntry {
  return { id, type, size: json.length + ENTRY_CHARACTERS, toJson: () => json }
}

/** JSON that survives every decoder of text: a lone surrogate, or half a character at the end of a piece, stays what it is. */
function toAscii(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
