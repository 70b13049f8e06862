import fc, { type Arbitrary } from 'fast-check'
import { hostileJson } from './schema-arbitrary.ts'

/** How a client of a WebSocket ends: with a close frame, without one, or by a reset. */
export type Ending = 'close' | 'end' | 'reset'

/** What one client of a WebSocket does. */
export interface FuzzClient {
  readonly stream: 'pty' | 'events'
  /** Instead of those that are right. */
  readonly headers: Readonly<Record<string, string>>
  /** Written one after the other, the first with the request itself if `isHasty`. */
  readonly pieces: readonly Buffer[]
  readonly isHasty: boolean
  readonly ending: Ending
}

const MAX_SHOWN = 400

interface Frame {
  readonly isLast: boolean
  readonly reserved: number
  readonly opcode: number
  readonly isMasked: boolean
  readonly payload: Buffer
  /** Bytes it says it has, where that is not true. */
  readonly claimed?: bigint
}

/** A frame as a client sends it, masked with zeros (RFC 6455, 5.2). */
function encodeFrame({ isLast, reserved, opcode, isMasked, payload, claimed }: Frame): Buffer {
  const length = claimed ?? BigInt(payload.length)
  const head = Buffer.alloc(14)
  head[0] = (isLast ? 0x80 : 0) | (reserved << 4) | opcode
  let size = 2
  if (length < 126n) head[1] = Number(length)
  else if (length < 65_536n) {
    head[1] = 126
    size = head.writeUInt16BE(Number(length), 2)
  } else {
    head[1] = 127
    size = head.writeBigUInt64BE(length, 2)
  }
  if (isMasked) {
    head[1] |= 0x80
    size += 4
  }
  return Buffer.concat([head.subarray(0, size), payload])
}

const TEXT = 1
const CLOSE = 8
const PING = 9
const good = { isLast: true, reserved: 0, opcode: TEXT, isMasked: true }

/** A close frame with a code, or without. */
export const closeFrame = (payload: Buffer = Buffer.alloc(0)): Buffer =>
  encodeFrame({ ...good, opcode: CLOSE, payload })

/** Messages that terminals understand. */
const message = fc
  .oneof(
    fc.base64String({ maxLength: 40 }).map((chars) => ({ type: 'stdin', chars })),
    fc.record({ type: fc.constant('resize'), rows: fc.nat(70_000), cols: fc.nat(70_000) }),
    fc.constantFrom({ type: 'ping' }, { type: 'restart' }, { type: 'stdin', chars: 'x'.repeat(70_000) }),
  )
  .map((one) => Buffer.from(JSON.stringify(one)))
const hostile = fc.oneof(
  hostileJson.map((json) => Buffer.from(json)),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
)
const payload = fc.oneof(message, message, hostile)
const goodFrame = payload.map((payload) => encodeFrame({ ...good, payload }))
const fragments = fc
  .tuple(payload, fc.integer({ min: 1, max: 5 }), fc.boolean())
  .map(([whole, count, isPinged]) => {
    const size = Math.ceil(whole.length / count)
    const frames = Array.from({ length: count }, (_, index) =>
      encodeFrame({
        ...good,
        isLast: index === count - 1,
        opcode: index === 0 ? TEXT : 0,
        payload: whole.subarray(index * size, (index + 1) * size),
      }),
    )
    const ping = encodeFrame({ ...good, opcode: PING, payload: Buffer.from('between') })
    return Buffer.concat(isPinged ? frames.flatMap((frame) => [frame, ping]) : frames)
  })
const oddFrame = fc
  .record(
    {
      isLast: fc.boolean(),
      reserved: fc.constantFrom(0, 0, 1, 7),
      opcode: fc.nat(15),
      isMasked: fc.constantFrom(true, true, true, false),
      payload,
      claimed: fc.constantFrom(0n, 125n, 126n, 65_536n, 1_048_577n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
    },
    { requiredKeys: ['isLast', 'reserved', 'opcode', 'isMasked', 'payload'] },
  )
  .map(encodeFrame)
const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
const closing = fc
  .oneof(
    hostile,
    fc.nat(65_535).map((code) => Buffer.from([code >> 8, code & 255])),
  )
  .map(closeFrame)

/** Some bytes in pieces, wherever they are cut. */
const pieces = fc
  .tuple(
    fc.array(
      fc.oneof(
        { arbitrary: goodFrame, weight: 5 },
        { arbitrary: fragments, weight: 3 },
        { arbitrary: oddFrame, weight: 2 },
        { arbitrary: garbage, weight: 1 },
        { arbitrary: closing, weight: 1 },
      ),
      { maxLength: 6 },
    ),
    fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
  )
  .map(([parts, cuts]) => {
    const bytes = Buffer.concat(parts)
    const ends = [...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b)
    return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
  })

/** Clients of all kinds. */
export const fuzzClients: Arbitrary<FuzzClient> = fc
  .record({
    stream: fc.constantFrom('pty', 'pty', 'events'),
    headers: fc.oneof(
      { arbitrary: fc.constant({}), weight: 9 },
      {
        arbitrary: fc.constantFrom(
          { 'Sec-WebSocket-Key': 'short' },
          { 'Sec-WebSocket-Version': '12' },
          { 'Sec-WebSocket-Protocol': ',,"' },
          { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits=99' },
          { Upgrade: 'websocket, h2c' },
          { Connection: 'close' },
          { Authorization: 'Bearer a:b' },
          { 'Content-Length': '10' },
          { 'Transfer-Encoding': 'chunked' },
        ),
        weight: 1,
      },
    ),
    pieces,
    isHasty: fc.boolean(),
    ending: fc.constantFrom('close', 'end', 'reset'),
  })
  .map((client) => Object.assign(client, { [fc.toStringMethod]: () => show(client) }))

/** Short: the seed brings all of it back. */
function show({ stream, headers, pieces, isHasty, ending }: FuzzClient): string {
  const bytes = Buffer.concat(pieces).toString('hex')
  const sent = bytes.length > MAX_SHOWN ? `${bytes.slice(0, MAX_SHOWN)}…` : bytes
  return `${stream} ${JSON.stringify(headers)} ${sent} in ${pieces.length}${isHasty ? ' at once' : ''}, ${ending}`
}

/** What a server has sent of frames: unmasked, whole; without what has come of one in part. Throws for anything else. */
export function decodeFrames(bytes: Buffer): { readonly opcode: number; readonly payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const [first = 0, second = 0] = bytes.subarray(at)
    if ((first & 0xf0) !== 0x80 || second > 127)
      throw new Error(`no frame of a server: ${bytes.subarray(at, at + 20).toString('hex')}`)
    const start = at + (second < 126 ? 2 : second === 126 ? 4 : 10)
    if (start > bytes.length) break
    const length =
      second < 126
        ? second
        : second === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2))
    if (start + length > bytes.length) break
    frames.push({ opcode: first & 15, payload: bytes.subarray(start, start + length) })
    at = start + length
  }
  return frames
}
