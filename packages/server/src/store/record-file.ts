import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'

/** Bytes of records that were replaced or dropped, beyond which those that count are copied to another file. */
const MAX_WASTE = 128 * 1024
/** Bytes that are written at once then. */
const COPY_BYTES = 1024 * 1024
const { O_APPEND, O_CREAT, O_RDWR, O_TRUNC } = constants
const NEWLINE = 0x0a
/** No descriptor of another file, whatever is still written. */
const CLOSED = -1

/**
 * Groups of named records in a file to which changes are appended, a line each: one system call for what a database needs a dozen for. What
 * was written is there however this process ends; a line that it could not end does not count. What throws throws the error of the
 * system, and then nothing has changed.
 */
export interface RecordFile {
  /** A group is there as long as one of its records is. */
  has(group: string): boolean
  /** Of the records in a group. */
  names(group: string): readonly string[]
  /** Adds or replaces. The value is JSON. */
  put(group: string, name: string, value: unknown): void
  /** Drops these of a group, or all. */
  drop(group: string, names?: readonly string[]): void
  /** Idempotent; nothing can be written any more. */
  close(): void
}

export type Records = ReadonlyMap<string, ReadonlyMap<string, unknown>>

/** A line as JSON: a record, or what is dropped of a group. */
type Line =
  | readonly [group: string, name: string, value: unknown]
  | readonly [group: string, names: readonly string[]]

interface Place {
  readonly at: number
  readonly length: number
}

/** Opens the file, mode 0600, with its records; makes one that is not there. */
export function openRecordFile(file: string): { file: RecordFile; records: Records } {
  const fd = openSync(file, O_RDWR | O_APPEND | O_CREAT, 0o600)
  try {
    const bytes = readFileSync(fd)
    const places = new Places()
    for (let at = 0; at < bytes.length; ) {
      const next = bytes.indexOf(NEWLINE, at + 1)
      const place = { at, length: (next === -1 ? bytes.length : next) - at }
      const [group, what] = parseLine(bytes, place) ?? []
      if (group !== undefined && typeof what === 'string') places.set(group, what, place)
      else if (group !== undefined && typeof what === 'object') places.drop(group, what)
      at += place.length
    }
    const valueAt = (place: Place): unknown => parseLine(bytes, place)?.[2]
    const toValues = (names: ReadonlyMap<string, Place>) =>
      new Map([...names].map(([name, place]) => [name, valueAt(place)]))
    const records = new Map([...places.groups].map(([group, names]) => [group, toValues(names)]))
    return { file: toRecordFile(file, fd, bytes.length, places), records }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function toRecordFile(file: string, fd: number, size: number, places: Places): RecordFile {
  const copyWhatCounts = (): void => {
    const copy = openSync(`${file}.new`, O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0o600)
    const copied = new Places()
    let parts: Buffer[] = []
    let written = 0
    const writeParts = (): void => {
      append(copy, Buffer.concat(parts))
      parts = []
      written = copied.bytes
    }
    try {
      for (const [group, names] of places.groups) {
        for (const [name, { at, length }] of names) {
          const line = Buffer.allocUnsafe(length)
          readSync(fd, line, 0, length, at)
          parts.push(line)
          copied.set(group, name, { at: copied.bytes, length })
          if (copied.bytes - written > COPY_BYTES) writeParts()
        }
      }
      writeParts()
      renameSync(`${file}.new`, file)
    } catch (error) {
      closeSync(copy)
      rmSync(`${file}.new`, { force: true })
      throw error
    }
    closeSync(fd)
    fd = copy
    size = copied.bytes
    places = copied
  }

  const write = (line: Line): Place => {
    // Before anything is written: where this fails nothing has changed.
    if (size - places.bytes > MAX_WASTE + places.bytes) copyWhatCounts()
    // Whatever has become of the line before it, it is a line.
    const bytes = Buffer.from(`\n${JSON.stringify(line)}`)
    try {
      append(fd, bytes)
    } catch (error) {
      size = fstatSync(fd).size
      throw error
    }
    size += bytes.length
    return { at: size - bytes.length, length: bytes.length }
  }

  const names = (group: string): string[] => [...(places.groups.get(group)?.keys() ?? [])]
  return {
    has: (group) => places.groups.has(group),
    names,
    put(group, name, value) {
      // What is written may have been copied elsewhere first.
      const place = write([group, name, value])
      places.set(group, name, place)
    },
    drop(group, dropped = names(group)) {
      if (dropped.length === 0) return
      write([group, dropped])
      places.drop(group, dropped)
    },
    close() {
      if (fd !== CLOSED) closeSync(fd)
      fd = CLOSED
    },
  }
}

/** Where in a file each record is. */
class Places {
  readonly groups = new Map<string, Map<string, Place>>()
  /** Of all of them. */
  bytes = 0

  set(group: string, name: string, place: Place): void {
    const names = this.groups.get(group) ?? new Map<string, Place>()
    this.groups.set(group, names)
    this.bytes += place.length - (names.get(name)?.length ?? 0)
    names.set(name, place)
  }

  drop(group: string, dropped: readonly string[]): void {
    const names = this.groups.get(group)
    for (const name of dropped) {
      this.bytes -= names?.get(name)?.length ?? 0
      names?.delete(name)
    }
    if (names?.size === 0) this.groups.delete(group)
  }
}

/** On a full disk a part may be written before it throws. */
function append(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
}

/** Undefined for one that was not ended. */
function parseLine(bytes: Buffer, { at, length }: Place): Line | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8', at, at + length))
    // Written from a value of this type, no part of which is JSON.
    return Array.isArray(value) ? (value as unknown as Line) : undefined
  } catch {
    return undefined
  }
}
