/**
 * The server is killed at random moments, again and again, while clients use it as they always do, and a model knows what must be. 25 times
 * here; `npm run soak:kills` does it a thousand times, `SOAK_KILLS` any number of times, `SOAK_SEED` what another run did.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { KernelInfo, RunResult, SessionUsage } from '@cob/protocol'
import type { Answer } from '../support/api-client.ts'
import { createRandom } from '../support/mixed-load.ts'
import { createRestartingServer, followAcross } from '../support/restarting-server.ts'

const KILLS = Number(process.env.SOAK_KILLS ?? 25)
const SEED = Number(process.env.SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31))
const WORKERS = 6
const MAX_UP_MS = 1200
/** Of ten stops. */
const GENTLE_SHARE = 0.15
const EARLY_SHARE = 0.1
const LINES = 40
/** Sessions that are left alone, and must be there in the end. */
const MAX_LEFT = 40
/** Of the CPU time of all sessions at the end, between what is charged and what their cgroups say. */
const MAX_CHARGE_ERROR = 0.01

/** What a session must be. */
interface Model {
  readonly token: string
  kernel: string
  /** Executions since it was created, and since its last restart. */
  executions: number
  n: number
  cpuMs: number
}

test(`${KILLS} kills at random moments lose nothing that was answered, and run nothing twice (seed ${SEED})`, async (t) => {
  const server = createRestartingServer({ COB_KEEP_SESSIONS: '1', COB_RATE_LIMIT: '1000000000' })
  const counts = new Map<string, number>()
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)
  const live = new Set<Model>()
  const destroyed: Model[] = []
  const problems: unknown[] = []
  let isOver = false
  /** The first problem ends the test, in order: nobody is left waiting for a server that does not come. */
  const noted = (task: Promise<void>): Promise<void> =>
    task.catch((problem) => {
      problems.push(problem)
      isOver = true
    })

  /** Asks until there is an answer of a server that is not ending. */
  const ask = async <T>(method: string, target: string, body?: unknown): Promise<Answer<T>> => {
    for (;;) {
      await server.up
      try {
        const answer = await server.api.call<T>(method, target, body)
        if (answer.status !== 503) return answer
      } catch {
        count('broken requests')
      }
      await delay(5)
    }
  }
  const at = ({ kernel }: Model, more = ''): string => `/v1/kernel/${kernel}${more}`

  /** Runs code once, however often that must be asked for. */
  const runOnce = async (session: Model, code: string): Promise<RunResult> => {
    const codeId = `${session.token} ${session.executions}`
    const execution = at(session, `/executions/${encodeURIComponent(codeId)}`)
    session.executions++
    for (;;) {
      await server.up
      try {
        const { status, body } = await server.api.call<{ result: RunResult }>('POST', at(session), {
          code,
          codeId,
        })
        if (status === 200) return body.result
        assert.ok(status === 503 || status === 409, `POST: ${status}: ${JSON.stringify(body)}`)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        count('broken executions')
      }
      // Was it accepted?
      for (;;) {
        const { status, body } = await ask<{ result: RunResult }>('GET', execution)
        if (status === 404) break
        assert.equal(status, 200, JSON.stringify(body))
        if (body.result.status !== 'continued') return body.result
        await delay(5)
      }
    }
  }
  const increment = async (session: Model): Promise<void> => {
    session.n++
    const { status, value, exceptions } = await runOnce(session, "n = globals().get('n', 0) + 1\nn")
    assert.deepEqual([status, value?.['text/plain'], exceptions], ['finished', String(session.n), []])
  }
  const stream = async (session: Model): Promise<void> => {
    const code = `import time\nfor i in range(${LINES}): print(i, flush=True); time.sleep(0.01)\nn = globals().get('n', 0) + 1`
    session.n++
    const codeId = `${session.token} ${session.executions}`
    const running = runOnce(session, code)
    const ids: number[] = []
    let text = ''
    for (;;) {
      const { status } = await ask('GET', at(session, `/executions/${encodeURIComponent(codeId)}`))
      if (status === 200) break
      await delay(2)
    }
    for await (const event of followAcross(server, session.kernel, codeId)) {
      ids.push(event.id)
      if (event.type === 'stream') text += event.text
    }
    assert.equal(text, Array.from({ length: LINES }, (_, i) => `${i}\n`).join(''))
    assert.deepEqual(
      ids,
      ids.map((_, index) => index + 1),
    )
    const { status, stdout } = await running
    assert.equal(status, 'finished')
    assert.ok(text.endsWith(stdout), 'an answer has what the stream did not have')
  }
  const queue = async (session: Model): Promise<void> => {
    const first = session.n
    const results = await Promise.all(
      [1, 2, 3].map(async (each) => {
        session.n++
        // Which one comes first is for the server to say, once it is killed between them.
        const { status, value } = await runOnce(
          session,
          `import time; time.sleep(0.0${each})\nn = globals().get('n', 0) + 1\nn`,
        )
        assert.equal(status, 'finished')
        return Number(value?.['text/plain'])
      }),
    )
    assert.deepEqual(
      results.toSorted((a, b) => a - b),
      [first + 1, first + 2, first + 3],
    )
  }
  const restart = async (session: Model): Promise<void> => {
    assert.equal((await ask('PATCH', at(session))).status, 204)
    session.n = 0
  }
  const look = async (session: Model): Promise<void> => {
    const { status, body } = await ask<KernelInfo>('GET', at(session))
    assert.equal(status, 200, JSON.stringify(body))
    assert.equal(body.numQueriesExecuted, session.executions)
    assert.ok(
      body.cpuCreditUsed >= session.cpuMs,
      `CPU time went from ${session.cpuMs} to ${body.cpuCreditUsed} ms`,
    )
    session.cpuMs = body.cpuCreditUsed
  }
  const acts = { increment, stream, queue, restart, look }

  const work = async (worker: number): Promise<void> => {
    const random = createRandom(SEED + worker)
    for (let turn = 0; !isOver; turn++) {
      const token = `session ${worker} ${turn}`
      const { status: created, body } = await ask<{ kernelId: string }>('POST', '/v1/kernel/create', {
        lang: 'python3',
        clientSessionToken: token,
      })
      assert.ok(created === 201 || created === 200, `create: ${created}: ${JSON.stringify(body)}`)
      const session: Model = { token, kernel: body.kernelId, executions: 0, n: 0, cpuMs: 0 }
      live.add(session)
      for (let left = 3 + Math.floor(random() * 20); left > 0 && !isOver; left--) {
        const names = Object.keys(acts) as (keyof typeof acts)[]
        const name = names[Math.floor(random() * names.length)] ?? 'look'
        await acts[name](session)
        count(name)
      }
      const isLeft = random() < 0.3
      if (isOver || (isLeft && live.size < MAX_LEFT)) continue
      // The first answer may have been lost with its server.
      const { status } = await ask('DELETE', at(session))
      assert.ok(status === 204 || status === 404, `DELETE: ${status}`)
      live.delete(session)
      destroyed.push(session)
      count('destroy')
    }
  }
  const kill = async (): Promise<void> => {
    const random = createRandom(SEED + 1000)
    for (let kills = 0; kills < KILLS && !isOver; kills++) {
      await delay(random() * MAX_UP_MS)
      if (random() < GENTLE_SHARE) assert.equal(await server.end('SIGTERM'), 0)
      else await server.end('SIGKILL')
      if (random() < EARLY_SHARE) await server.startAndKill(100 + random() * 1500)
      await server.start()
    }
    isOver = true
  }

  try {
    await server.start()
    await Promise.all([kill(), ...Array.from({ length: WORKERS }, (_, worker) => work(worker))].map(noted))
    if (problems.length > 0) throw new AggregateError(problems, 'what was answered and what is differ')
    t.diagnostic([...counts].map(([name, times]) => `${name} ${times}`).join(', '))
    const { body } = await ask<{ kernels: KernelInfo[] }>('GET', '/v1/kernels')
    assert.deepEqual(
      body.kernels.map(({ kernelId }) => kernelId).toSorted(),
      [...live].map(({ kernel }) => kernel).toSorted(),
    )
    let cgroupMs = 0
    for (const session of live) {
      await look(session)
      await increment(session)
      await runOnce(
        session,
        'import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass',
      )
      cgroupMs += cpuMsOf(server.recorded(session.kernel)?.cgroups ?? [])
      await server.api.destroy(session.kernel)
    }
    for (const { kernel } of destroyed.slice(-100))
      assert.equal((await server.api.gone(kernel)).reason, 'user-requested')

    const usage = new Map<string, SessionUsage>()
    for (let after: number | null = 0; after !== null; ) {
      const page: Answer<{ sessions: SessionUsage[]; next: number | null }> = await server.api.call(
        'GET',
        `/v1/admin/usage?by=session&after=${after}`,
      )
      for (const each of page.body.sessions) {
        assert.ok(!usage.has(each.kernelId), 'a session is charged twice')
        usage.set(each.kernelId, each)
      }
      after = page.body.next
    }
    for (const { kernel, executions, cpuMs } of [...destroyed, ...live]) {
      const charged = usage.get(kernel)
      assert.equal(charged?.executions, executions)
      assert.ok(charged.cpuMs >= cpuMs, `${cpuMs} ms of CPU time were seen, ${charged.cpuMs} are charged`)
    }
    const chargedMs = [...live].reduce((sum, { kernel }) => sum + (usage.get(kernel)?.cpuMs ?? 0), 0)
    t.diagnostic(
      `${usage.size} sessions charged; of ${live.size}: ${chargedMs} ms, ${cgroupMs.toFixed(0)} by their cgroups`,
    )
    assert.ok(Math.abs(chargedMs / cgroupMs - 1) < MAX_CHARGE_ERROR)
    const { processes, cgroups, runEntries } = server.footprint()
    assert.deepEqual({ processes, cgroups, runEntries }, { processes: 0, cgroups: 0, runEntries: 0 })
  } finally {
    isOver = true
    await server.close()
  }
})

/** CPU time by the session's cgroup itself, cgroup v1 or v2. */
function cpuMsOf(cgroups: readonly { readonly dir: string }[]): number {
  for (const { dir } of cgroups) {
    if (existsSync(`${dir}/cpuacct.usage`)) return Number(readFileSync(`${dir}/cpuacct.usage`, 'utf8')) / 1e6
    const usec =
      existsSync(`${dir}/cpu.stat`) && /usage_usec (\d+)/.exec(readFileSync(`${dir}/cpu.stat`, 'utf8'))
    if (usec) return Number(usec[1]) / 1000
  }
  throw new Error('no cgroup of the session counts CPU time')
}
