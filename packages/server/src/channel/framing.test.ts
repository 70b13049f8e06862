import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_FRAME_BYTES, MAX_FRAME_VALUES } from '@cob/protocol'
import fc from 'fast-check'
import { heldBytes } from '../../../../test/support/memory.ts'
import { encodeJsonFrame, type Frame, FrameDecoder, FrameError } from './framing.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)
/** Of the decoders under test; small, so that frames that are too large are common. */
const MAX_BYTES = 1024

function toFrame(payload: Uint8Array, { length = payload.length + 1, kind = 0 } = {}): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length)
  head.writeUInt8(kind, 4)
  return Buffer.concat([head, payload])
}

/** The frames of `chunks` and, last, the message of the `FrameError` if there was one. */
function decode(chunks: readonly Buffer[], maxBytes = MAX_BYTES): unknown[] {
  const decoder = new FrameDecoder(maxBytes)
  const found: unknown[] = []
  try {
    for (const chunk of chunks) {
      for (const frame of decoder.push(chunk)) {
        assert.ok(frame.sizeBytes <= maxBytes + 4)
        found.push(frame)
      }
    }
  } catch (error) {
    assert.ok(error instanceof FrameError, String(error))
    found.push(error.message)
  }
  return found
}

function cut(wire: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, i = 0; at < wire.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    chunks.push(wire.subarray(at, at + size))
    at += size
  }
  return chunks
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const json = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(JSON.parse('{"__proto__": {"x": 1}}'), { lone: '\ud83d' }, 2 ** 53, -0),
  fc.nat(700).map((depth) => JSON.parse('['.repeat(depth) + ']'.repeat(depth) || 'null')),
)
const valid = fc.oneof(
  json.map(encodeJsonFrame),
  bytes.map((payload) => toFrame(Buffer.concat([Buffer.alloc(4, 7), payload]), { kind: 1 })),
)
const invalid = fc.oneof(
  bytes,
  bytes.map((payload) => toFrame(payload)),
  fc.record({ length: fc.nat(2 ** 32 - 1), kind: fc.nat(3) }).map((head) => toFrame(Buffer.alloc(8), head)),
  fc
    .constantFrom(0, 1, MAX_BYTES, MAX_BYTES + 1, 2 ** 31, 2 ** 32 - 1)
    .map((length) => toFrame(Buffer.alloc(3), { length })),
  fc.record({ frame: valid, at: fc.nat(), byte: fc.nat(255) }).map(({ frame, at, byte }) => {
    const mutated = Buffer.from(frame)
    mutated[at % mutated.length] = byte
    return mutated
  }),
  fc
    .record({ frame: valid, from: fc.nat(), to: fc.nat() })
    .map(({ frame, from, to }) =>
      Buffer.concat([frame.subarray(0, from % frame.length), frame.subarray(to % frame.length)]),
    ),
)
const cuts = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 })

test(`valid frames come out as they went in, however the stream is cut (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(json, { maxLength: 8 }), cuts, (values, sizes) => {
      const frames = decode(
        cut(Buffer.concat(values.map(encodeJsonFrame)), sizes),
        MAX_FRAME_BYTES,
      ) as Frame[]
      assert.deepEqual(
        frames.map((frame) => (frame.kind === 'json' ? frame.json : frame)),
        values.map((value) => JSON.parse(JSON.stringify(value))),
      )
    }),
    { seed: SEED, numRuns: 2000 },
  )
})

test(`whatever comes gives frames or a FrameError, the same however it is cut (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(valid, invalid), { maxLength: 6 }), cuts, (parts, sizes) => {
      const wire = Buffer.concat(parts)
      assert.deepEqual(decode(cut(wire, sizes)), decode([wire]))
    }),
    { seed: SEED, numRuns: 10_000 },
  )
})

test('a frame larger than allowed is refused before it is buffered', () => {
  assert.match(String(decode([Buffer.from([0xff, 0xff, 0xff, 0xff])])), /4294967295 bytes; at most 1024/)
})

test('a large frame that comes byte by byte costs no more than its size', async () => {
  const size = 2_000_000
  const decoder = new FrameDecoder()
  const before = await heldBytes()
  const head = Buffer.alloc(5)
  head.writeUInt32BE(size + 1)
  for (const _ of decoder.push(head)) assert.fail('there is no frame yet')
  for (let i = 1; i < size; i++)
    for (const _ of decoder.push(Buffer.allocUnsafeSlow(1).fill(0x20))) assert.fail('there is no frame yet')
  const held = (await heldBytes()) - before
  assert.ok(held < 3 * size, `${held} bytes are held`)
  assert.throws(() => [...decoder.push(Buffer.from('}'))], FrameError)
})

test('JSON of very many values is refused before it is parsed, one long string is not', () => {
  const toError = (text: string) => String(decode([toFrame(Buffer.from(text))], MAX_FRAME_BYTES)[0])
  const most = MAX_FRAME_VALUES
  assert.match(toError(`[${'0,'.repeat(most)}0]`), /more than 400000 values/)
  assert.match(toError(`{${'"a":0,'.repeat(most / 8)}"b":0}`), /more than/)
  assert.match(toError('[{'.repeat(most)), /more than/)
  assert.match(toError(`["\\\\",${'0,'.repeat(most)}0]`), /more than/)
  const text = ',[{"\\\n"'.repeat(500_000)
  const start = performance.now()
  const [frame] = decode([encodeJsonFrame([text])], MAX_FRAME_BYTES) as Frame[]
  assert.deepEqual(frame?.kind === 'json' && frame.json, [text])
  const full = encodeJsonFrame(Array.from({ length: most }, () => 0))
  assert.equal((decode([full], MAX_FRAME_BYTES)[0] as Frame).kind, 'json')
  assert.ok(performance.now() - start < 2000)
})

test('JSON nested as deep as a frame can hold does not overflow the stack', () => {
  const depth = MAX_FRAME_VALUES
  const wire = toFrame(Buffer.from(`${'['.repeat(depth)}${']'.repeat(depth)}`))
  const [frame] = [...new FrameDecoder().push(wire)]
  assert.equal(frame?.kind, 'json')
  assert.deepEqual(decode([toFrame(Buffer.from('['.repeat(depth)))], MAX_FRAME_BYTES), [
    'a JSON frame that is not JSON',
  ])
})
