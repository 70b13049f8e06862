/**
 * Everything at once for a while: sessions are created, used, restarted, misused and destroyed, and what the server occupies must be as flat
 * in the end as in the beginning. A minute here; `npm run soak` takes half an hour, `SOAK_MINUTES` any time, `SOAK_SEED` what another run did.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { createApiClient } from '../support/api-client.ts'
import { type Footprint, footprint } from '../support/footprint.ts'
import { createRandom, HARMFUL, type LoadedSession, ORDINARY } from '../support/mixed-load.ts'
import { startServerProcess } from '../support/server-process.ts'
import { warmSettled } from '../support/warm.ts'

const MINUTES = Number(process.env.SOAK_MINUTES ?? 1)
const SEED = Number(process.env.SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31))
const WORKERS = 6
const BYSTANDERS = 20
const SAMPLES = 60
/** Of ten sessions, so many end by what their code does. */
const HARMFUL_SHARE = 0.3
/**
 * From the second quarter to the last. What V8 and malloc keep of the first floods, and results of ended sessions, which are kept for 5
 * minutes, come within the first minutes: a short run only bounds them.
 */
const MAX_GROWTH_MIB = MINUTES < 20 ? 512 : 48

interface Sample extends Footprint {
  readonly minute: number
  readonly residentMib: number
}

const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-soak-'))
after(() => rmSync(dataDir, { recursive: true, force: true }))

test(`${MINUTES} min of mixed load leave nothing behind, and no answer is wrong (seed ${SEED})`, async (t) => {
  const server = await startServerProcess(dataDir, {
    COB_MAX_WARM: '4',
    COB_LOG_LEVEL: 'warn',
    COB_RATE_LIMIT: '1000000000',
  })
  const api = createApiClient(server.url, server.key)
  const counts = new Map<string, number>()
  const problems: string[] = []
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)
  const sample = (): Sample => ({
    ...footprint(dataDir, server.pid),
    minute: (performance.now() - began) / 60_000,
    residentMib: readRssMib(server.pid),
  })
  const began = performance.now()
  const endsAt = began + MINUTES * 60_000
  const isOver = (): boolean => performance.now() >= endsAt

  /** One session from its creation to its end. */
  const live = async (random: () => number): Promise<void> => {
    const pick = <T>(from: Readonly<Record<string, T>>): [string, T] => {
      const entries = Object.entries(from)
      const entry = entries[Math.floor(random() * entries.length)]
      assert.ok(entry)
      return entry
    }
    const isHarmful = random() < HARMFUL_SHARE
    // What users do takes as long as the machine is busy; what is endless must not take all of the time.
    const timeout = isHarmful ? 2000 : 60_000
    const kernel = await api.create({ resourceLimits: { maxMem: 65_536, timeout } })
    const session: LoadedSession = { ...server, api, kernel, x: undefined, random }
    for (let steps = isHarmful ? 0 : Math.floor(random() * 18); steps > 0; steps--) {
      const [name, act] = pick(ORDINARY)
      await act(session).catch((cause) => {
        throw new Error(name, { cause })
      })
      count(name)
    }
    if (!isHarmful) {
      await api.destroy(kernel)
      return
    }
    const [name, { code, reasons }] = pick(HARMFUL)
    const { status, reason } = await api.run(kernel, code)
    // A full folder is an exception, and the session lives.
    if (status !== 'terminated') await api.destroy(kernel)
    else assert.ok(reason && reasons.includes(reason), `${name} ended with ${reason}`)
    count(name)
  }
  const work = async (worker: number): Promise<void> => {
    const random = createRandom(SEED + worker)
    while (!isOver()) {
      await live(random).catch((error) => problems.push(describe(error)))
      count('sessions')
    }
  }
  /** They are left alone but for a question now and then. */
  const watch = async (kernels: readonly string[]): Promise<void> => {
    for (let turn = 1; !isOver(); turn++) {
      const kernel = kernels[turn % kernels.length] ?? ''
      const { value } = await api.run(kernel, 'turns = turns + 1 if "turns" in globals() else 1\nturns')
      const expected = String(Math.ceil(turn / kernels.length))
      if (value?.['text/plain'] !== expected)
        problems.push(`a bystander answered ${value?.['text/plain']}, not ${expected}`)
      await delay(100)
    }
  }

  try {
    const bystanders = await Promise.all(Array.from({ length: BYSTANDERS }, () => api.create()))
    await warmSettled(server.url)
    const before = footprint(dataDir, server.pid)
    const samples: Sample[] = []
    const watchSamples = async (): Promise<void> => {
      while (!isOver()) {
        await delay((MINUTES * 60_000) / SAMPLES)
        samples.push(sample())
      }
    }
    await Promise.all([
      ...Array.from({ length: WORKERS }, (_, worker) => work(worker)),
      watch(bystanders.toSorted()).catch((error) => problems.push(describe(error))),
      watchSamples(),
    ])
    // What ended by itself is gone a moment after it has said so, and what is kept ready is made meanwhile.
    let left = footprint(dataDir, server.pid)
    for (const giveUp = performance.now() + 10_000; performance.now() < giveUp; await delay(50)) {
      await warmSettled(server.url)
      left = footprint(dataDir, server.pid)
      if (isDeepStrictEqual(left, before)) break
    }
    for (const kernel of bystanders) await api.destroy(kernel)

    t.diagnostic([...counts].map(([name, times]) => `${name} ${times}`).join(', '))
    for (const each of samples.filter((_, index) => index % 6 === 5)) t.diagnostic(toLine(each))
    assert.deepEqual(problems, [])
    assert.deepEqual(left, before)
    const growth = medianOf(quarter(samples, 3)) - medianOf(quarter(samples, 1))
    t.diagnostic(`growth from the second to the last quarter: ${growth.toFixed(1)} MiB`)
    assert.ok(growth < MAX_GROWTH_MIB, `the server grew by ${growth.toFixed(1)} MiB`)
  } finally {
    if (server.log() !== '') t.diagnostic(server.log().slice(-4000))
    assert.equal(await server.end('SIGTERM'), 0)
  }
})

function quarter(samples: readonly Sample[], index: number): number[] {
  const length = Math.floor(samples.length / 4)
  return samples.slice(index * length, (index + 1) * length).map(({ residentMib }) => residentMib)
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

function toLine({ minute, residentMib, processes, cgroups, descriptors }: Sample): string {
  return `${minute.toFixed(1)} min: ${residentMib.toFixed(0)} MiB, ${descriptors} descriptors, ${processes} processes, ${cgroups} cgroups`
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause ? `${error.message}: ${describe(error.cause)}` : error.message
}

function readRssMib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}
