import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFakeBackend } from '../../../../test/support/fake-backend.ts'
import { createFakeSessions } from '../../../../test/support/fake-sessions.ts'
import { CobError, type ErrorCode } from '../errors.ts'

const SEED = Number(process.env.FAST_CHECK_SEED ?? Date.now() % 2 ** 31)
const OWNER = 'AKIDOWNER'
const PROGRAMS = ['print a', 'set x\nget x', 'ask ?', 'hang', 'crash', 'oom', 'garbage', 'raise E'] as const

/** What one of several clients does next; `token` picks the kernel, `turns` how long it hesitates. */
const step = fc.record({
  verb: fc.constantFrom('create', 'create', 'run', 'run', 'run', 'restart', 'destroy', 'info'),
  token: fc.integer({ min: 0, max: 2 }),
  lang: fc.constantFrom('fake', 'fake', 'other'),
  program: fc.constantFrom(...PROGRAMS),
  wait: fc.constantFrom(undefined, 0, 5),
  turns: fc.integer({ min: 0, max: 12 }),
})

/** Everything a well-behaved client may be told when others do things at the same time. */
const EXPECTED: readonly ErrorCode[] = [
  'no-such-kernel',
  'kernel-gone',
  'token-in-use',
  'queue-full',
  'no-capacity',
  'quota-exceeded',
  'kernel-start-failed',
  'shutting-down',
]

test(`create, run, restart, destroy and crashes in any order leave nothing and answer everybody (seed ${SEED})`, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 5 }),
      async (clients) => {
        const backend = createFakeBackend()
        const sessions = createFakeSessions(backend, { maxKernels: 3 })
        const latest = new Map<number, string>()
        const liveByToken = new Map<string, Set<string>>()
        const answers: Promise<unknown>[] = []

        const act = async ({
          verb,
          token,
          lang,
          program,
          wait,
        }: (typeof clients)[number][number]): Promise<void> => {
          const id = latest.get(token)
          if (verb === 'create') {
            const { kernelId, created } = await sessions.create(OWNER, {
              lang,
              clientSessionToken: `token-${token}`,
            })
            latest.set(token, kernelId)
            const made = liveByToken.get(`token-${token}`) ?? new Set()
            assert.ok(created !== made.has(kernelId) || !created, 'one kernel was said to be created twice')
            liveByToken.set(`token-${token}`, made.add(kernelId))
          } else if (id !== undefined) {
            if (verb === 'run') {
              const result = await sessions.run(OWNER, id, { code: program }, { waitMs: wait })
              if (result.status === 'terminated') assert.ok(result.reason, 'an end without a reason')
            }
            if (verb === 'restart') await sessions.restart(OWNER, id)
            if (verb === 'info') await sessions.info(OWNER, id)
            if (verb === 'destroy') {
              await sessions.destroy(OWNER, id)
              await assert.rejects(sessions.info(OWNER, id), CobError)
            }
          }
        }
        const client = async (steps: (typeof clients)[number]): Promise<void> => {
          for (const one of steps) {
            for (let i = 0; i < one.turns; i++) await new Promise(setImmediate)
            // Not awaited: a client may have several requests under way.
            answers.push(
              act(one).catch((error) => {
                if (!(error instanceof CobError) || !EXPECTED.includes(error.code)) throw error
              }),
            )
          }
        }
        await Promise.all(clients.map(client))
        assert.ok(backend.live.size <= 3, 'more sandboxes than kernels allowed')
        const tokens = (await sessions.list(OWNER)).map(({ clientSessionToken }) => clientSessionToken)
        assert.equal(new Set(tokens).size, tokens.length, 'two live kernels with one token')
        await sessions.close()
        await Promise.all(answers)
        assert.equal(backend.live.size, 0, 'sandboxes left behind')
        assert.deepEqual(await sessions.list(OWNER), [])
      },
    ),
    { seed: SEED, numRuns: 300 },
  )
})
