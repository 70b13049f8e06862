import { isUtf8 } from 'node:buffer'
import { FRAME_KIND, KEY_WEIGHT, MAX_FRAME_BYTES, MAX_FRAME_VALUES } from '@cob/protocol'

const HEADER_BYTES = 4
const STREAM_ID_BYTES = 4

/** One frame as it came off the wire. `sizeBytes` counts the header too. */
export type Frame =
  | { readonly kind: 'json'; readonly json: unknown; readonly sizeBytes: number }
  | { readonly kind: 'bytes'; readonly stream: number; readonly bytes: Buffer; readonly sizeBytes: number }

/** The other end broke the framing; nothing after it can be trusted. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

export function encodeJsonFrame(message: unknown): Buffer {
  const payload = JSON.stringify(message)
  const size = Buffer.byteLength(payload)
  if (size + 1 > MAX_FRAME_BYTES)
    throw new FrameError(`a frame of ${size + 1} bytes exceeds ${MAX_FRAME_BYTES}`)
  const frame = Buffer.allocUnsafe(HEADER_BYTES + 1 + size)
  frame.writeUInt32BE(size + 1, 0)
  frame.writeUInt8(FRAME_KIND.json, HEADER_BYTES)
  frame.write(payload, HEADER_BYTES + 1)
  return frame
}

/** The header of a frame that carries `length` bytes of one stream; the bytes follow it. */
export function encodeBytesHeader(length: number, stream = 0): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES + 1 + STREAM_ID_BYTES)
  header.writeUInt32BE(1 + STREAM_ID_BYTES + length, 0)
  header.writeUInt8(FRAME_KIND.bytes, HEADER_BYTES)
  header.writeUInt32BE(stream, HEADER_BYTES + 1)
  return header
}

/**
 * Cuts a byte stream into frames. Holds at most one unfinished frame, in a buffer of at most `maxFrameBytes` plus one chunk, however
 * small the chunks are. Throws `FrameError` and must be dropped then.
 */
export class FrameDecoder {
  readonly #maxFrameBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  #filled = 0
  #needed = HEADER_BYTES

  constructor(maxFrameBytes: number = MAX_FRAME_BYTES) {
    this.#maxFrameBytes = maxFrameBytes
  }

  *push(chunk: Buffer): Generator<Frame> {
    this.#append(chunk)
    let rest = this.#buffer.subarray(0, this.#filled)
    while (rest.length >= this.#needed) {
      if (this.#needed === HEADER_BYTES) {
        this.#needed += this.#checkedLength(rest.readUInt32BE(0))
        continue
      }
      yield parseFrame(rest.subarray(HEADER_BYTES, this.#needed), this.#needed)
      rest = rest.subarray(this.#needed)
      this.#needed = HEADER_BYTES
    }
    if (rest.length === this.#filled) return
    this.#buffer = Buffer.from(rest)
    this.#filled = rest.length
  }

  #checkedLength(length: number): number {
    if (length < 1) throw new FrameError('a frame without a kind')
    if (length > this.#maxFrameBytes)
      throw new FrameError(`a frame of ${length} bytes; at most ${this.#maxFrameBytes} are accepted`)
    return length
  }

  /** Doubles the buffer when it is full: to keep the chunks would cost far more than the bytes in them. */
  #append(chunk: Buffer): void {
    const filled = this.#filled + chunk.length
    if (this.#filled === 0) this.#buffer = chunk
    else if (filled <= this.#buffer.length) chunk.copy(this.#buffer, this.#filled)
    else {
      const grown = Buffer.allocUnsafe(Math.max(filled, Math.min(2 * this.#filled, this.#needed)))
      this.#buffer.copy(grown, 0, 0, this.#filled)
      chunk.copy(grown, this.#filled)
      this.#buffer = grown
    }
    this.#filled = filled
  }
}

function parseFrame(body: Buffer, sizeBytes: number): Frame {
  const kind = body[0]
  const payload = body.subarray(1)
  switch (kind) {
    case FRAME_KIND.json: {
      if (hasMoreValues(payload, MAX_FRAME_VALUES))
        throw new FrameError(`a JSON frame of more than ${MAX_FRAME_VALUES} values`)
      if (!isUtf8(payload)) throw new FrameError('a JSON frame that is not UTF-8')
      try {
        return { kind: 'json', json: JSON.parse(payload.toString('utf8')), sizeBytes }
      } catch (cause) {
        throw new FrameError('a JSON frame that is not JSON', { cause })
      }
    }
    case FRAME_KIND.bytes: {
      if (payload.length < STREAM_ID_BYTES) throw new FrameError('a bytes frame without a stream id')
      const bytes = Buffer.from(payload.subarray(STREAM_ID_BYTES))
      return { kind: 'bytes', stream: payload.readUInt32BE(0), bytes, sizeBytes }
    }
    default:
      throw new FrameError(`a frame of unknown kind ${kind}`)
  }
}

const [QUOTE = 0, BACKSLASH, COMMA, BRACKET, BRACE, COLON] = Buffer.from('"\\,[{:')

/**
 * Whether JSON holds more than about so many values, before it is parsed: a frame of a million keys keeps this process from all
 * others for seconds, and as objects takes twenty times its size. One long string is as quick as it looks.
 */
function hasMoreValues(json: Buffer, most: number): boolean {
  if (json.length * KEY_WEIGHT <= most) return false
  let count = 0
  for (let at = 0; at < json.length && count <= most; at++) {
    const byte = json[at]
    if (byte === QUOTE) at = endOfString(json, at)
    else if (byte === COMMA || byte === BRACKET || byte === BRACE) count++
    else if (byte === COLON) count += KEY_WEIGHT
  }
  return count > most
}

function endOfString(json: Buffer, start: number): number {
  for (let at = json.indexOf(QUOTE, start + 1); at >= 0; at = json.indexOf(QUOTE, at + 1)) {
    let before = at - 1
    while (json[before] === BACKSLASH) before--
    if ((at - before) % 2 === 1) return at
  }
  return json.length
}
