import type { AgentEvent, RunResult } from '@cob/protocol'
import type { Held } from './holdings.ts'

/** Unicode characters of stdout, and of stderr, in one answer (spec/api.md, "Running code"). */
export const MAX_STREAM_CHARACTERS = 524_288
/** Characters of media, exceptions and the value together in one answer. */
const MAX_RICH_CHARACTERS = 16 * 1024 * 1024
const MAX_MEDIA_ENTRIES = 1000
const MAX_EXCEPTIONS = 16

/** Best first: the form of a display that `media` carries. */
const RICHNESS = [
  'image/svg+xml',
  'image/png',
  'image/jpeg',
  'text/html',
  'text/latex',
  'text/markdown',
  'application/json',
  'text/plain',
]

type Content<Event> = Event extends unknown ? Omit<Event, 'seq' | 'id'> : never
export type OutputEvent = Content<
  Extract<
    AgentEvent,
    {
      type: 'stream' | 'display_data' | 'update_display_data' | 'clear_output' | 'execute_result' | 'error'
    }
  >
>

type OutputPart = Pick<RunResult, 'stdout' | 'stderr' | 'media' | 'exceptions' | 'value' | 'truncated'>

/** What an execution has put out since it was last taken. Bounded, whatever the code prints. */
export interface Output {
  add(event: OutputEvent): void
  /** How much it holds now, about. */
  readonly characters: number
  /** Returns what there is and starts anew. The caller gives its characters back to `held` when they are gone. */
  take(): OutputPart
  /** Nobody will ask for what there is: gives its characters back. */
  release(): void
}

/** Counts what it keeps as `held`'s, and cuts what that refuses. */
export function createOutput(held: Pick<Held, 'take' | 'give'>): Output {
  let part = emptyPart()
  let room = fullRoom()
  let characters = 0
  let streamed = 0
  // Serialised: small objects take twenty times as much.
  let valueText: string | undefined
  // Of each entry of `media`, to be changed later by that name.
  let displayIds: (string | undefined)[] = []
  let clearsNext = false

  const keeps = (more: number): boolean => {
    if (!held.take(more)) return false
    characters += more
    return true
  }
  const fits = (more: number): boolean => {
    if (more > room.rich || !keeps(more)) return false
    room.rich -= more
    return true
  }
  const stream = (name: 'stdout' | 'stderr', text: string): void => {
    const cut = cutToCharacters(text, room[name])
    const fitting = keeps(cut.kept.length) ? cut : { kept: '', characters: 0 }
    if (fitting.kept.length < text.length) part.truncated = true
    room[name] -= fitting.characters
    part[name] += fitting.kept
    if (fitting.kept !== '' && ++streamed % PIECES === 0) part[name] = copy(part[name])
  }
  const giveBack = (less: number): void => {
    held.give(less)
    characters -= less
  }
  const display = (data: Record<string, unknown>, displayId: string | undefined, isUpdate: boolean): void => {
    const mime = RICHNESS.find((candidate) => candidate in data) ?? Object.keys(data)[0]
    if (mime === undefined) return
    const content = toMediaContent(mime, data[mime])
    const earlier = isUpdate ? displayIds.lastIndexOf(displayId) : -1
    const replaced = part.media[earlier]
    if (replaced) {
      room.rich += replaced[1].length
      giveBack(replaced[1].length)
      if (fits(content.length)) part.media[earlier] = [mime, content]
      else {
        part.media[earlier] = [replaced[0], '']
        part.truncated = true
      }
    } else if (part.media.length < MAX_MEDIA_ENTRIES && fits(content.length)) {
      part.media.push([mime, content])
      displayIds.push(displayId)
    } else part.truncated = true
  }
  const clear = (): void => {
    clearsNext = false
    const media = part.media.reduce((sum, [, content]) => sum + content.length, 0)
    giveBack(part.stdout.length + part.stderr.length + media)
    room = { ...fullRoom(), rich: room.rich + media }
    part = { ...emptyPart(), exceptions: part.exceptions }
    displayIds = []
  }
  const exception = ({ name, args, before, traceback }: Extract<OutputEvent, { type: 'error' }>): void => {
    // A line costs something even if it is empty.
    const size = [name, ...args, ...traceback].reduce((sum, { length }) => sum + length + 8, 0)
    if (part.exceptions.length < MAX_EXCEPTIONS && fits(size))
      part.exceptions.push([name, args, before, traceback])
    else part.truncated = true
  }
  const value = (data: Record<string, unknown>): void => {
    const text = JSON.stringify(data)
    if (fits(text.length)) valueText = text
    else part.truncated = true
  }

  return {
    add(event) {
      if (event.type === 'clear_output') {
        if (event.wait) clearsNext = true
        else clear()
        return
      }
      if (clearsNext) clear()
      switch (event.type) {
        case 'stream':
          stream(event.name, event.text)
          break
        case 'display_data':
        case 'update_display_data':
          display(event.data, event.displayId, event.type === 'update_display_data')
          break
        case 'execute_result':
          value(event.data)
          break
        case 'error':
          exception(event)
          break
        default:
          event satisfies never
      }
    },
    get characters() {
      return characters
    },
    take() {
      const taken: OutputPart = part
      // It is the text of what was a value of this type.
      if (valueText !== undefined) taken.value = JSON.parse(valueText) as NonNullable<OutputPart['value']>
      part = emptyPart()
      room = fullRoom()
      valueText = undefined
      displayIds = []
      characters = 0
      return taken
    },
    release() {
      held.give(characters)
      characters = 0
      part = { ...emptyPart(), truncated: true }
      valueText = undefined
    },
  }
}

function fullRoom(): { stdout: number; stderr: number; rich: number } {
  return { stdout: MAX_STREAM_CHARACTERS, stderr: MAX_STREAM_CHARACTERS, rich: MAX_RICH_CHARACTERS }
}

function emptyPart(): OutputPart {
  return { stdout: '', stderr: '', media: [], exceptions: [], truncated: false }
}

/** Pieces a text may be put together from before it is copied into one. */
const PIECES = 1024

/** The same characters in memory of their own: V8 keeps the whole of what a slice is from, and each piece of what was put together. */
export function copy(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le')
}

/** Cuts after `room` Unicode characters (code points, not UTF-16 units). */
function cutToCharacters(text: string, room: number): { kept: string; characters: number } {
  if (!/[\ud800-\udbff]/.test(text)) {
    const kept = text.length <= room ? text : copy(text.slice(0, room))
    return { kept, characters: kept.length }
  }
  let end = 0
  let characters = 0
  for (const character of text) {
    if (characters === room) break
    characters++
    end += character.length
  }
  return { kept: copy(text.slice(0, end)), characters }
}

/** Text and XML types as they are; others as a data URI (RFC 2397), of base64 or of serialised JSON. */
function toMediaContent(mime: string, content: unknown): string {
  const isText = mime.startsWith('text/') || mime.endsWith('+xml') || mime === 'application/xml'
  if (isText) return typeof content === 'string' ? content : JSON.stringify(content)
  if (typeof content === 'string' && !mime.endsWith('json'))
    return `data:${mime};base64,${content.replaceAll('\n', '')}`
  return `data:${mime};base64,${Buffer.from(JSON.stringify(content) ?? 'null').toString('base64')}`
}
