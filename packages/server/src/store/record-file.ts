import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'

/** When there are so many bytes more of records that were replaced or dropped than of those that count, these are copied to another file. */
const MAX_WASTE = 128 * 1024
/** Bytes that are copied at once, and a record more. */
const COPY_BYTES = 1024 * 1024
/** What a copy is called that is not whole yet. */
const COPY_SUFFIX = '.new'
const { O_APPEND, O_CREAT, O_RDWR, O_TRUNC } = constants
const NEWLINE = 0x0a
/** No descriptor of another file, whatever is still written. */
const CLOSED = -1

/**
 * Groups of named records in a file to which changes are appended, a line each: one system call for what a database needs a dozen for. What
 * was written is there however this process ends; a line that it could not end does not count. What cannot be written throws, and then
 * nothing has changed. No other process may write the file meanwhile.
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

/**
 * Opens the file, with its records; makes one that is not there. Its mode is 0600 then, and where there is room for a copy only what counts
 * is in it. Throws the error of the system.
 */
export function openRecordFile(file: string): { file: RecordFile; records: Records } {
  // Of a process that did not come to the end of it.
  rmSync(file + COPY_SUFFIX, { force: true })
  const fd = openSync(file, O_RDWR | O_APPEND | O_CREAT, 0o600)
  try {
    fchmodSync(fd, 0o600)
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
  let mayWaste = MAX_WASTE

  const copyWhatCounts = (): void => {
    const copy = openSync(file + COPY_SUFFIX, O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0o600)
    try {
      const { copied, stretches } = places.inOrder()
      for (const { at, length } of stretches) {
        const bytes = Buffer.alloc(length)
        if (readSync(fd, bytes, 0, length, at) !== length) throw new Error('records are missing')
        append(copy, bytes)
      }
      renameSync(file + COPY_SUFFIX, file)
      // Even where the old one cannot be closed it is not used any more.
      const old = fd
      fd = copy
      size = copied.bytes
      places = copied
      closeSync(old)
    } catch (error) {
      if (fd !== copy) {
        closeSync(copy)
        rmSync(file + COPY_SUFFIX, { force: true })
      }
      throw error
    }
  }

  const write = (line: Line): Place => {
    // Whatever has become of the line before it, it is a line.
    const bytes = Buffer.from(`\n${JSON.stringify(line)}`)
    try {
      append(fd, bytes)
    } catch (error) {
      if (fd !== CLOSED) size = fstatSync(fd).size
      throw error
    }
    size += bytes.length
    return { at: size - bytes.length, length: bytes.length }
  }
  /** What was written is there, whether there is room for a copy or not. */
  const hasCopied = (): boolean => {
    try {
      copyWhatCounts()
      return true
    } catch {
      return false
    }
  }
  const tidy = (): void => {
    if (size - places.bytes <= places.bytes + mayWaste) return
    mayWaste = hasCopied() ? MAX_WASTE : mayWaste + MAX_WASTE
  }

  if (size > places.bytes) hasCopied()
  const names = (group: string): string[] => [...(places.groups.get(group)?.keys() ?? [])]
  return {
    has: (group) => places.groups.has(group),
    names,
    put(group, name, value) {
      places.set(group, name, write([group, name, value]))
      tidy()
    },
    drop(group, dropped = names(group)) {
      if (dropped.length === 0) return
      write([group, dropped])
      places.drop(group, dropped)
      tidy()
    },
    close() {
      const open = fd
      fd = CLOSED
      if (open !== CLOSED) closeSync(open)
    },
  }
}

/** Where in a file each record is. */
class Places {
  readonly groups = new Map<string, Map<string, Place>>()
  /** Of all of them. */
  bytes = 0

  set(group: string, name: string, place: Place): void {
    let names = this.groups.get(group)
    if (!names) {
      names = new Map()
      this.groups.set(group, names)
    }
    this.bytes += place.length - (names.get(name)?.length ?? 0)
    names.set(name, place)
  }

  /** As they are when one lies after the other, and the stretches of the file that they are copied from. */
  inOrder(): { copied: Places; stretches: readonly Place[] } {
    const copied = new Places()
    const stretches: { at: number; length: number }[] = []
    const all = [...this.groups].flatMap(([group, names]) =>
      [...names].map(([name, place]) => ({ group, name, ...place })),
    )
    for (const { group, name, at, length } of all.sort((a, b) => a.at - b.at)) {
      copied.set(group, name, { at: copied.bytes, length })
      const last = stretches.at(-1)
      if (last && last.at + last.length === at && last.length < COPY_BYTES) last.length += length
      else stretches.push({ at, length })
    }
    return { copied, stretches }
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
