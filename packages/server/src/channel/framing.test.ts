import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeJsonFrame, type Frame, FrameDecoder, FrameError } from './framing.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)

test(`frames survive any way of cutting the stream (seed ${SEED})`, () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue(), { maxLength: 8 }),
      fc.array(fc.nat(40), { minLength: 1 }),
      (values, cuts) => {
        const wire = Buffer.concat(values.map(encodeJsonFrame))
        const decoder = new FrameDecoder()
        const frames: Frame[] = []
        for (let at = 0, i = 0; at < wire.length; i++) {
          const size = (cuts[i % cuts.length] ?? 0) + 1
          frames.push(...decoder.push(wire.subarray(at, at + size)))
          at += size
        }
        const expected = values.map((value) => JSON.parse(JSON.stringify(value)))
        assert.deepEqual(
          frames.map((frame) => (frame.kind === 'json' ? frame.json : undefined)),
          expected,
        )
      },
    ),
    { seed: SEED },
  )
})

test(`random bytes give frames or a FrameError, nothing else (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 6 }), (chunks) => {
      const decoder = new FrameDecoder(1024)
      try {
        for (const chunk of chunks)
          for (const frame of decoder.push(Buffer.from(chunk))) assert.ok(frame.sizeBytes <= 1028)
      } catch (error) {
        assert.ok(error instanceof FrameError)
      }
    }),
    { seed: SEED, numRuns: 5000 },
  )
})

test('a frame larger than allowed is refused before it is buffered', () => {
  const decoder = new FrameDecoder()
  assert.throws(() => [...decoder.push(Buffer.from([0xff, 0xff, 0xff, 0xff]))], FrameError)
})

test('JSON nested 100,000 deep does not overflow the stack', () => {
  const payload = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  const frame = Buffer.concat([Buffer.alloc(5), Buffer.from(payload)])
  frame.writeUInt32BE(payload.length + 1, 0)
  const [decoded] = [...new FrameDecoder().push(frame)]
  assert.equal(decoded?.kind, 'json')
})
