import { rate, time, type Unit } from './figures.ts'
import { growthOf, readAvailable, readTreePss } from './memory.ts'
import { type Cob, startCob } from './subjects/cob.ts'
import type { Kernel, Subject } from './subjects/subject.ts'

/** How much is measured. */
export interface Scale {
  readonly rounds: number
  /** Share of the samples of a full measurement. */
  readonly share: number
  readonly churnSeconds: number
  readonly rateSeconds: number
  readonly sessions: readonly number[]
  readonly outputBytes: readonly number[]
}

/** One figure of a server. */
export interface Row {
  readonly id: string
  readonly title: string
  readonly unit: Unit
  readonly isMoreBetter?: boolean
  readonly targets: {
    readonly p50?: number
    readonly p99?: number
    /** Times as good as the peer. */
    readonly ratio?: number
  }
}

/** Everything that is measured; what a group of them finds is in the order in which it is said here. */
export const ROWS = [
  {
    id: 'first-warm',
    title: 'create -> first result of `1+1`, warm',
    unit: 'ms',
    targets: { p50: 5, p99: 30, ratio: 150 },
  },
  { id: 'first-cold', title: 'create -> first result, pool empty', unit: 'ms', targets: { p50: 80 } },
  { id: 'live', title: '`1+1` on a live kernel', unit: 'ms', targets: { p50: 0.7, p99: 5, ratio: 15 } },
  {
    id: 'throughput',
    title: 'executions a second, 8 kernels, 8 clients',
    unit: '/s',
    isMoreBetter: true,
    targets: { p50: 3000 },
  },
  {
    id: 'churn',
    title: 'create + execute + destroy, sustained',
    unit: '/s',
    isMoreBetter: true,
    targets: { p50: 30 },
  },
  { id: 'restart', title: 'restart until the kernel answers', unit: 'ms', targets: { p50: 15 } },
  {
    id: 'interrupt',
    title: 'interrupt of `while True: pass` until the result',
    unit: 'ms',
    targets: { p50: 10 },
  },
  { id: 'idle-memory', title: 'an idle session, all included (PSS)', unit: 'MiB', targets: { p50: 8 } },
  { id: 'many-memory', title: '1,000 sessions in all (PSS)', unit: 'MiB', targets: { p50: 8192 } },
  {
    id: 'many-machine',
    title: '1,000 sessions: what the machine has less available',
    unit: 'MiB',
    targets: {},
  },
  { id: 'many-server', title: '1,000 sessions: the server (RSS)', unit: 'MiB', targets: { p50: 250 } },
  {
    id: 'many-live',
    title: '1,000 sessions: `1+1`, against that with one',
    unit: 'times',
    targets: { p50: 2 },
  },
  {
    id: 'stream-rate',
    title: '200 MB printed, read as a stream',
    unit: 'MB/s',
    isMoreBetter: true,
    targets: { p50: 50 },
  },
  { id: 'stream-server', title: '200 MB printed: growth of the server', unit: 'MiB', targets: { p50: 50 } },
  {
    id: 'stalled-server',
    title: 'the same with a reader that stops: growth',
    unit: 'MiB',
    targets: { p50: 20 },
  },
  { id: 'start', title: 'server start until it is ready', unit: 'ms', targets: { p50: 1500 } },
] as const satisfies readonly Row[]

export type RowId = (typeof ROWS)[number]['id']
/** Of one round. */
export type Samples = Partial<Record<RowId, readonly number[]>>
export interface Growth {
  /** By the number of sessions: ms of a `1+1` (median), MiB of the server and of each session. */
  readonly sessions: { sessions: number; ms: number; serverMib: number; sessionMib: number }[]
  /** By bytes printed: ms until all of it is read. */
  readonly output: { bytes: number; ms: number }[]
}

const MB = 1_000_000
const CODE = '1+1'
const SPIN = 'while True: pass'
const CLIENTS = 8
const CHURN_CLIENTS = 4
const CREATED_AT_ONCE = 4
/** Until code that was sent surely runs. */
const RUNS_MS = 30
const STALLED_MS = 5000

/** What every server can be asked. */
export async function measureCommon(subject: Subject, scale: Scale, samples: number): Promise<Samples> {
  const count = (full: number): number => Math.max(3, Math.round(full * scale.share * samples))
  await warmUp(subject, scale)
  const kernel = await subject.create()
  await time(count(300), () => kernel.run(CODE))
  const live = await time(count(3000), () => kernel.run(CODE))
  const restart = await time(count(100), async () => {
    await kernel.restart()
    await kernel.run(CODE)
  })
  const interrupt: number[] = []
  for (let i = 0; i < count(100); i++) {
    const ended = kernel.run(SPIN)
    await pause(RUNS_MS)
    const began = performance.now()
    await kernel.interrupt()
    await ended
    interrupt.push(performance.now() - began)
  }
  await kernel.destroy()
  const firsts: number[] = []
  for (let i = 0; i < count(400); i++) {
    await subject.settle()
    firsts.push(await first(subject))
  }
  return {
    'first-warm': firsts,
    live,
    restart,
    interrupt,
    throughput: [await measureThroughput(subject, scale)],
    churn: [await measureChurn(subject, scale)],
  }
}

/**
 * What a server does in its first ten seconds under load is not what it does: until its code is compiled, after some 20,000 executions, one takes
 * up to twice as long.
 */
async function warmUp(subject: Subject, scale: Scale): Promise<void> {
  await measureThroughput(subject, scale)
  await rate(CHURN_CLIENTS, scale.rateSeconds, () => first(subject))
  await subject.settle()
}

type Runner = Pick<Kernel, 'run' | 'destroy'>
type Creator = { create(): Promise<Runner>; settle(): Promise<void> }

/** ms from asking for a kernel to the value of its first code; it is destroyed after that. */
export async function first(subject: Creator): Promise<number> {
  const began = performance.now()
  const kernel = await subject.create()
  const value = await kernel.run(CODE)
  const tookMs = performance.now() - began
  if (value !== '2') throw new Error(`1+1 is ${value}`)
  await kernel.destroy()
  return tookMs
}

export async function measureThroughput(subject: Creator, scale: Scale): Promise<number> {
  const kernels = await Promise.all(Array.from({ length: CLIENTS }, () => subject.create()))
  const run = (worker: number): Promise<unknown> | undefined => kernels[worker]?.run(CODE)
  await subject.settle()
  await rate(CLIENTS, scale.rateSeconds / 4, async (worker) => run(worker))
  const found = await rate(CLIENTS, scale.rateSeconds, async (worker) => run(worker))
  await Promise.all(kernels.map((kernel) => kernel.destroy()))
  return found
}

async function measureChurn(subject: Subject, scale: Scale): Promise<number> {
  const found = await rate(CHURN_CLIENTS, scale.churnSeconds, () => first(subject))
  await subject.settle()
  return found
}

/** PSS of a session among `sessions` that idle, with its share of what the server grew, MiB. */
export async function measureIdleMemory(subject: Subject, sessions: number): Promise<number> {
  await subject.settle()
  const before = readTreePss(subject.pid)
  const kernels = await createMany(subject, sessions)
  for (const kernel of kernels) await kernel.run(CODE)
  await subject.settle()
  const after = readTreePss(subject.pid)
  await Promise.all(kernels.map((kernel) => kernel.destroy()))
  return (after.root + after.descendants - before.root - before.descendants) / sessions
}

/** MB/s of printed text that is read as it comes. */
export async function measureStream(subject: Subject, bytes: number): Promise<number> {
  const kernel = await subject.create()
  await kernel.stream(print(MB))
  const began = performance.now()
  const read = await kernel.stream(print(bytes))
  const seconds = (performance.now() - began) / 1000
  await kernel.destroy()
  if (read < bytes) throw new Error(`of ${bytes} bytes ${read} were read`)
  return bytes / MB / seconds
}

/** What only our server is measured for: what grows, its limits, and its start. */
export async function measureCob(
  scale: Scale,
  starts: number,
): Promise<{ samples: Samples; growth: Growth }> {
  // So that none is kept warm in the end that was not in the beginning.
  const idle = await withCob({ COB_MAX_WARM: '4' }, (cob) => measureIdleMemory(cob, 40))
  const stream = await withCob({}, (cob) => measureOutput(cob, scale))
  const many = await withCob({ COB_MAX_WARM: '4' }, (cob) => measureSessions(cob, scale))
  const cold = await withCob({ COB_MAX_WARM: '0' }, async (cob) => {
    const times: number[] = []
    for (let i = 0; i < Math.round(60 * scale.share); i++) times.push(await first(cob))
    return times
  })
  const start: number[] = []
  for (let i = 0; i < starts; i++) {
    const began = performance.now()
    await withCob({}, async () => start.push(performance.now() - began))
  }
  return {
    samples: { 'idle-memory': [idle], start, 'first-cold': cold, ...stream.samples, ...many.samples },
    growth: { sessions: many.growth, output: stream.growth },
  }
}

/** A server for one measurement alone. */
async function withCob<T>(environment: Record<string, string>, use: (cob: Cob) => Promise<T>): Promise<T> {
  const cob = await startCob(environment)
  try {
    return await use(cob)
  } finally {
    await cob.close()
  }
}

async function measureOutput(
  cob: Cob,
  { outputBytes }: Scale,
): Promise<{ samples: Samples; growth: Growth['output'] }> {
  const most = outputBytes.at(-1) ?? 0
  const growth: Growth['output'] = []
  for (const bytes of outputBytes)
    growth.push({ bytes, ms: bytes / MB / (await measureStream(cob, bytes)) / 1e-3 })
  let megabytes = 0
  const streamed = await growthOf(cob.pid, async () => {
    megabytes = await measureStream(cob, most)
  })
  const kernel = await cob.create()
  const stalled = await growthOf(cob.pid, async () => {
    const stop = await kernel.stall(print(most))
    await pause(STALLED_MS)
    stop()
  })
  await kernel.destroy()
  return {
    samples: { 'stream-rate': [megabytes], 'stream-server': [streamed], 'stalled-server': [stalled] },
    growth,
  }
}

async function measureSessions(
  cob: Cob,
  { sessions, share }: Scale,
): Promise<{ samples: Samples; growth: Growth['sessions'] }> {
  await cob.settle()
  const available = readAvailable()
  const empty = readTreePss(cob.pid)
  const kernels: Kernel[] = []
  const growth: Growth['sessions'] = []
  for (const wanted of sessions) {
    kernels.push(...(await createMany(cob, wanted - kernels.length)))
    await cob.settle()
    // Their number is measured here; a session's first execution is a row of its own.
    for (let i = 0; i < Math.max(20, wanted); i++) await runOne(kernels, i % wanted)
    const times = await time(Math.round(1000 * share), (index) =>
      // Strides over all of them, whatever their number.
      runOne(kernels, (index * 7919) % kernels.length),
    )
    const pss = readTreePss(cob.pid)
    growth.push({
      sessions: wanted,
      ms: times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0,
      serverMib: pss.root,
      sessionMib: (pss.descendants - empty.descendants) / wanted,
    })
  }
  const [one, all] = [growth[0], growth.at(-1)]
  const availableLess = available - readAvailable()
  for (let i = 0; i < kernels.length; i += CREATED_AT_ONCE)
    await Promise.all(kernels.slice(i, i + CREATED_AT_ONCE).map((kernel) => kernel.destroy()))
  if (!one || !all) return { samples: {}, growth }
  return {
    samples: {
      'many-memory': [all.serverMib + all.sessionMib * all.sessions],
      'many-machine': [availableLess],
      'many-server': [all.serverMib],
      'many-live': [all.ms / one.ms],
    },
    growth,
  }
}

async function createMany(subject: Subject, count: number): Promise<Kernel[]> {
  const kernels: Kernel[] = []
  while (kernels.length < count) {
    const more = Math.min(CREATED_AT_ONCE, count - kernels.length)
    kernels.push(...(await Promise.all(Array.from({ length: more }, () => subject.create()))))
  }
  return kernels
}

async function runOne(kernels: readonly Kernel[], index: number): Promise<void> {
  await kernels[index]?.run(CODE)
}

/** A program that prints so many bytes, in lines of 1,000. */
function print(bytes: number): string {
  return `line = 'x' * 999\nfor _ in range(${Math.round(bytes / 1000)}): print(line)`
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
