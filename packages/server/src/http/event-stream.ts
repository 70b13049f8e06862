import { Readable } from 'node:stream'
import type { LogEntry, LogReader } from '../sessions/event-log.ts'
import type { EventSource } from '../sessions/sessions.ts'

export const EVENT_TYPES = ['text/event-stream', 'application/x-ndjson'] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** Bytes taken from the log at once, and waiting for the client. */
const CHUNK_BYTES = 64 * 1024
/** ms a client that lost its connection waits before it comes back (HTML, 9.2.5). */
const RETRY_MS = 1000

const FORMATS = {
  'text/event-stream': {
    opening: `retry: ${RETRY_MS}\n\n`,
    heartbeat: ': heartbeat\n\n',
    write: (entry: LogEntry): string => `id: ${entry.id}\nevent: ${entry.type}\ndata: ${entry.toJson()}\n\n`,
  },
  'application/x-ndjson': {
    opening: '',
    heartbeat: '{"type":"heartbeat"}\n',
    write: (entry: LogEntry): string => `${entry.toJson()}\n`,
  },
} as const satisfies Record<EventType, unknown>

/** Whether nothing comes any more. */
export function isRead(source: EventSource): boolean {
  const reader = source.open(() => {})
  const { state } = reader
  reader.close()
  return state === 'ended'
}

/**
 * Events as server-sent events (HTML, 9.2) or lines of JSON, as fast as they are read. Breaks off where the next event is not kept any
 * more: a client that comes back is told so.
 */
export function toEventStream(source: EventSource, type: EventType, heartbeatMs: number): Readable {
  const format = FORMATS[type]
  let isWanted = false
  let reader: LogReader | undefined
  const give = (): void => {
    if (!reader || !isWanted) return
    const entries = reader.take(CHUNK_BYTES)
    if (entries.length > 0) {
      silence.refresh()
      isWanted = stream.push(entries.map(format.write).join(''), 'latin1')
      if (isWanted) give()
    } else if (reader.state === 'ended') stream.push(null)
    else if (reader.state === 'lost') stream.destroy(new Error('the client is too far behind'))
  }
  const stream = new Readable({
    highWaterMark: CHUNK_BYTES,
    construct(done) {
      reader = source.open(give)
      if (format.opening !== '') stream.push(format.opening)
      done()
    },
    read() {
      isWanted = true
      give()
    },
    destroy(error, done) {
      clearInterval(silence)
      reader?.close()
      done(error)
    },
  })
  const silence = setInterval(() => {
    // One that does not read need not be told that there is nothing to read.
    if (isWanted) isWanted = stream.push(format.heartbeat)
  }, heartbeatMs)
  return stream
}
