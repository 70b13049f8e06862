import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { CHANNEL_PROTOCOL } from '@cob/protocol'
import fc from 'fast-check'
import {
  type AgentLink,
  type AgentOutput,
  createAgentLink,
} from '../../packages/server/src/channel/agent-link.ts'
import { encodeJsonFrame, FrameDecoder } from '../../packages/server/src/channel/framing.ts'
import { createFakeBackend } from '../support/fake-backend.ts'
import { createFakeSessions } from '../support/fake-sessions.ts'
import { heldBytes } from '../support/memory.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)
const ID = 'an-execution'

interface Hostile {
  readonly link: AgentLink
  /** What the link passed on. */
  readonly events: AgentOutput[]
  /** Why it was given up; resolves once. */
  readonly lost: Promise<Error>
  say(wire: Uint8Array): void
  hangUp(): void
}

/** What else an agent says that has done nothing yet. */
const NOTHING_KEPT = { last: null, asking: false, quietMs: 0, cut: null, first: 1 }

/** A link to an agent that says `attached` and then what it is told to. It does not come back, and may not read. */
async function attach({ reads = true } = {}): Promise<Hostile> {
  const lost = Promise.withResolvers<Error>()
  let losses = 0
  const events: AgentOutput[] = []
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => reads && done() })
  stream.push(
    encodeJsonFrame({
      type: 'attached',
      id: 'x',
      protocol: CHANNEL_PROTOCOL,
      state: 'ready',
      execution: null,
      ...NOTHING_KEPT,
      next: 1,
    }),
  )
  let connections = 0
  const link = await createAgentLink({
    connect: async () => {
      if (connections++ > 0) throw new Error('it is gone')
      return stream
    },
    onEvent: (event) => events.push(event),
    onLost: (error) => {
      assert.equal(losses++, 0)
      lost.resolve(error)
    },
  })
  return {
    link,
    events,
    lost: lost.promise,
    say: (wire) => stream.push(wire),
    hangUp: () => stream.push(null),
  }
}

/** What is said for one number: an event, something that is ignored and uses no number, or a breach of the protocol. */
interface Said {
  readonly kind: 'event' | 'ignored' | 'breach'
  readonly wire: (seq: number) => Uint8Array
}
const said = (kind: Said['kind'], message: (seq: number) => unknown): Said => ({
  kind,
  wire: (seq) => encodeJsonFrame(message(seq)),
})
const body = fc.constantFrom<object>(
  { type: 'stream', name: 'stdout', text: 'x' },
  { type: 'stream', name: 'stderr', text: '\ud83d\0' },
  { type: 'display_data', data: { 'text/plain': 'x' }, metadata: {} },
  { type: 'execute_result', data: {}, metadata: { deep: [[[[]]]] } },
  { type: 'error', name: '', args: [], traceback: [], before: true },
  { type: 'input_request', prompt: '', password: false },
  { type: 'execute_reply', status: 'ok', durationMs: 1e308 },
  { type: 'status', state: 'dead', exit: null, signal: 9 },
  { type: 'fail', code: 'x', message: 'nobody asked' },
)
const id = fc.oneof(
  fc.constantFrom(null, ID, '__proto__', 'constructor'),
  fc.string({ minLength: 1, maxLength: 64 }),
)
const hostileJson = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    JSON.parse('{"__proto__": {"polluted": 1}}'),
    JSON.parse('['.repeat(100) + ']'.repeat(100)),
    2 ** 53,
    1e308,
    '\ud83d',
    null,
  ),
)
const event = fc
  .record({ body, id })
  .map(({ body, id }) => said('event', (seq) => ({ ...body, id, seq, more: 'is ignored' })))
const ignored = fc.oneof(
  fc.constant<Said>({ kind: 'ignored', wire: () => Buffer.from([0, 0, 0, 6, 1, 0, 0, 0, 1, 65]) }),
  fc.constant(
    said('ignored', () => ({
      type: 'attached',
      id: 'y',
      protocol: 1,
      state: 'dead',
      execution: ID,
      ...NOTHING_KEPT,
      first: 2 ** 53 - 1,
      cut: { id: ID, count: 2 ** 53 - 1 },
      next: 2 ** 53 - 1,
    })),
  ),
)
const breach = fc.oneof(
  // Numbers that are not the next one.
  fc
    .record({
      body,
      by: fc.oneof(fc.constantFrom(-1, 1, 0.5, 2 ** 53), fc.integer({ min: 1 }), fc.double({ min: 0.1 })),
    })
    .map(({ body, by }) => said('breach', (seq) => ({ ...body, id: ID, seq: seq + by }))),
  // A field that is not what it has to be.
  fc
    .record({ body, field: fc.constantFrom('type', 'seq'), value: hostileJson })
    .map(({ body, field, value }) =>
      said('breach', (seq) => ({ ...body, id: ID, seq, [field]: field === 'seq' ? [value] : value })),
    ),
  fc
    .record({ body, id: fc.constantFrom('', 'x'.repeat(65), 5, {}) })
    .map(({ body, id }) => said('breach', (seq) => ({ ...body, id, seq }))),
  hostileJson.map((value) => said('breach', () => value)),
  fc.constantFrom(
    said('breach', (seq) => ({
      type: 'display_data',
      id: ID,
      seq,
      metadata: {},
      data: { 'text/plain': JSON.parse('['.repeat(70) + ']'.repeat(70)) },
    })),
    said('breach', (seq) => ({ type: 'execute_reply', id: ID, seq, status: 'ok', durationMs: -1 })),
    { kind: 'breach' as const, wire: () => Buffer.from([0xff, 0xff, 0xff, 0xff, 0]) },
    { kind: 'breach' as const, wire: () => Buffer.from([0, 0, 0, 2, 0, 0xff]) },
  ),
)

test(`an agent is believed up to its first breach, and then lost once (seed ${SEED})`, {
  timeout: 60_000,
}, async () => {
  const sequence = fc.array(
    fc.oneof(
      { arbitrary: event, weight: 6 },
      { arbitrary: ignored, weight: 1 },
      { arbitrary: breach, weight: 1 },
    ),
    { maxLength: 12 },
  )
  let inputs = 0
  await fc.assert(
    fc.asyncProperty(sequence, fc.integer({ min: 1, max: 200 }), async (saids, chunk) => {
      inputs += saids.length
      const { events, lost, say, hangUp } = await attach()
      const end = saids.findIndex(({ kind }) => kind === 'breach')
      const believed = saids
        .slice(0, end === -1 ? undefined : end)
        .filter(({ kind }) => kind === 'event').length
      let seq = 1
      const wire = Buffer.concat(saids.map(({ kind, wire }) => wire(kind === 'event' ? seq++ : seq)))
      for (let at = 0; at < wire.length; at += chunk) say(wire.subarray(at, at + chunk))
      hangUp()
      const { message } = await lost
      assert.match(message, end === -1 ? /cannot be reached/ : /broke the protocol/)
      assert.deepEqual(
        events.map((one) => one.seq),
        Array.from({ length: believed }, (_, i) => i + 1),
      )
    }),
    { seed: SEED, numRuns: 4000 },
  )
  assert.ok(inputs > 10_000)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})

test('an agent that does not read, or never answers, is lost before much has piled up for it', async () => {
  const deaf = await attach({ reads: false })
  for (let i = 0; i < 5; i++) deaf.link.execute(`e${i}`, 'x'.repeat(4_000_000))
  assert.match((await deaf.lost).message, /does not read/)

  const mute = await attach()
  const answers = Array.from({ length: 70 }, () => mute.link.request('ping', {}))
  assert.match((await mute.lost).message, /does not answer/)
  for (const { status } of await Promise.allSettled(answers)) assert.equal(status, 'rejected')
})

test('a session whose agent turns hostile answers what runs and ends, and others go on', async () => {
  const count = 8000
  const flood = (seq: number, fields: object): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => encodeJsonFrame({ ...fields, seq: seq + i })))
  const big = 'x'.repeat(1000)
  for (const fields of [
    { type: 'stream', name: 'stdout', text: big },
    { type: 'display_data', data: { 'text/plain': big }, metadata: {} },
    { type: 'execute_result', data: { [big.slice(0, 250)]: big }, metadata: {} },
    { type: 'error', name: big, args: [big], traceback: [big], before: false },
    { type: 'input_request', prompt: big, password: false },
    { type: 'status', state: 'dead', exit: null, signal: null },
    { type: 'reply', result: {} },
    { type: 'fail', code: 'x', message: big },
  ]) {
    const backend = createFakeBackend()
    const sessions = createFakeSessions(backend)
    const good = await sessions.create('owner', { lang: 'fake' })
    const connect = backend.connect
    backend.connect = async (sandbox) => {
      const stream = await connect(sandbox)
      const hostile = new Duplex({
        read() {},
        write(chunk, _encoding, done) {
          for (const frame of new FrameDecoder().push(chunk)) {
            // Frames of requests come in one piece here.
            const { id, method } = (frame as { json: { id: string; method: string } }).json
            if (method === 'attach') stream.once('data', (data) => hostile.push(data))
            if (method === 'configure')
              hostile.push(encodeJsonFrame({ type: 'reply', id, seq: 1, result: {} }))
            if (method === 'execute') {
              hostile.push(flood(2, { ...fields, id }))
              hostile.push(encodeJsonFrame({ type: 'stream', id, seq: 2, name: 'stdout', text: 'again' }))
            } else if (method === 'attach') stream.write(chunk)
          }
          done()
        },
      })
      return hostile
    }
    const bad = await sessions.create('owner', { lang: 'fake' })
    const before = await heldBytes()
    const result = await sessions.run('owner', bad.kernelId, { code: 'x' }, {})
    assert.ok(['terminated', 'waiting-input'].includes(result.status), `${fields.type}: ${result.status}`)
    await sessions.destroy('owner', bad.kernelId).catch(() => {})
    const held = (await heldBytes()) - before
    assert.ok(held < 30_000_000, `${fields.type}: ${held} bytes are held`)
    assert.deepEqual(
      (await sessions.list('owner')).map(({ kernelId }) => kernelId),
      [good.kernelId],
    )
    assert.equal((await sessions.run('owner', good.kernelId, { code: 'print a' }, {})).stdout, 'a\n')
    await sessions.close()
    assert.equal(backend.live.size, 0)
  }
})
