/**
 * `npm run bench`: measures the server of this checkout, and prints a table. `--peer jupyter` measures Debian's jupyter-server beside it,
 * round by round in turn. `--quick` takes a tenth of the samples; `--write` also writes `bench/results` and `docs/benchmarks.md`. Figures
 * are medians over rounds; on a machine that does something else they mean little.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { drawGrowth } from './charts.ts'
import { type Figures, medianOf, summarize, time } from './figures.ts'
import { describeMachine, type Results, toPage, toTable } from './report.ts'
import {
  first,
  type Growth,
  measureCob,
  measureCommon,
  measureIdleMemory,
  measureStream,
  measureThroughput,
  type RowId,
  type Samples,
  type Scale,
} from './rows.ts'
import { startBare } from './subjects/bare.ts'
import { startCob } from './subjects/cob.ts'
import { requireJupyter, startJupyter } from './subjects/jupyter.ts'

const ROOT = path.dirname(import.meta.dirname)
const KB = 1000
const MB = 1000 * KB
const FULL: Scale = {
  rounds: 3,
  share: 1,
  churnSeconds: 60,
  rateSeconds: 8,
  sessions: [1, 10, 100, 1000],
  outputBytes: [KB, 32 * KB, MB, 32 * MB, 200 * MB],
}
const QUICK: Scale = {
  rounds: 1,
  share: 0.1,
  churnSeconds: 5,
  rateSeconds: 2,
  sessions: [1, 10, 100],
  outputBytes: [KB, MB, 200 * MB],
}
/** A kernel of the peer starts in most of a second. */
const PEER_SHARE = 0.05
/** What of 200 MB the peer is given: it takes seconds for these. */
const PEER_OUTPUT_BYTES = 20 * MB
const PEER_CHURN_SECONDS = 10
const STARTS = 5

const { values } = parseArgs({
  options: {
    peer: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
if (values.peer !== undefined && values.peer !== 'jupyter') {
  console.error(`--peer ${values.peer} is not known; there is: jupyter`)
  process.exit(2)
}
if (values.peer) requireJupyter()
// So that servers end with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1))
const scale = values.quick ? QUICK : FULL
const rounds: Record<string, Samples[]> = { cob: [] }
const growths: Growth[] = []
let leftBehind = 0
for (let round = 1; round <= scale.rounds; round++) {
  const say = (what: string): void => console.error(`round ${round} of ${scale.rounds}: ${what}`)
  say('cob')
  await keep('cob', measureOurs)
  if (values.peer) {
    say('jupyter-server')
    await keep('jupyter-server', measureJupyter)
  }
  say('bare')
  await keep('bare', measureBare)
}

const results: Results = {
  date: new Date().toISOString(),
  machine: describeMachine(),
  rounds: scale.rounds,
  cob: combine(rounds.cob ?? []),
  others: Object.fromEntries(
    Object.entries(rounds)
      .filter(([name]) => name !== 'cob')
      .map(([name, samples]) => [name, combine(samples)]),
  ),
  growth: growths.at(-1) ?? { sessions: [], output: [] },
  leftBehind,
}
console.log(toTable(results))
for (const each of results.growth.sessions)
  console.log(
    `${each.sessions} sessions: 1+1 ${each.ms.toFixed(2)} ms, server ${each.serverMib.toFixed(0)} MiB, each ${each.sessionMib.toFixed(2)} MiB`,
  )
for (const { bytes, ms } of results.growth.output)
  console.log(`${bytes} bytes: ${ms.toFixed(1)} ms, ${(bytes / 1000 / ms).toFixed(1)} MB/s`)
console.log(`left behind: ${leftBehind}`)
if (values.write) await write(results)

async function keep(name: string, measure: () => Promise<Samples>): Promise<void> {
  rounds[name] = [...(rounds[name] ?? []), await measure()]
}

async function measureOurs(): Promise<Samples> {
  const cob = await startCob()
  let common: Samples
  try {
    common = await measureCommon(cob, scale, 1)
    leftBehind += (await cob.list()).length
  } finally {
    await cob.close()
  }
  const own = await measureCob(scale, Math.ceil(STARTS * scale.share))
  growths.push(own.growth)
  return { ...common, ...own.samples }
}

async function measureJupyter(): Promise<Samples> {
  const began = performance.now()
  const jupyter = await startJupyter()
  const start = [performance.now() - began]
  try {
    const own = { ...scale, churnSeconds: Math.min(PEER_CHURN_SECONDS, scale.churnSeconds) }
    const common = await measureCommon(jupyter, own, PEER_SHARE)
    const memory = await measureIdleMemory(jupyter, 5)
    const stream = await measureStream(jupyter, PEER_OUTPUT_BYTES)
    return {
      ...common,
      'first-cold': common['first-warm'] ?? [],
      'idle-memory': [memory],
      'stream-rate': [stream],
      start,
    }
  } finally {
    await jupyter.close()
  }
}

async function measureBare(): Promise<Samples> {
  const bare = await startBare()
  try {
    await first(bare)
    const firsts: number[] = []
    for (let i = 0; i < 60 * scale.share; i++) firsts.push(await first(bare))
    const kernel = await bare.create()
    await time(300, () => kernel.run('1+1'))
    const live = await time(3000 * scale.share, () => kernel.run('1+1'))
    return { 'first-cold': firsts, live, throughput: [await measureThroughput(bare, scale)] }
  } finally {
    await bare.close()
  }
}

function combine(samples: readonly Samples[]): Partial<Record<RowId, Figures>> {
  const ids = new Set(samples.flatMap((each) => Object.keys(each) as RowId[]))
  return Object.fromEntries(
    [...ids].map((id) => [id, medianOf(samples.map((each) => summarize(each[id] ?? [])))]),
  )
}

async function write(found: Results): Promise<void> {
  const charts = await drawGrowth(found.growth)
  const put = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(ROOT, file)), { recursive: true })
    writeFileSync(path.join(ROOT, file), text)
  }
  put(`bench/results/${found.date.slice(0, 10)}.json`, `${JSON.stringify(found, null, 2)}\n`)
  put('docs/benchmarks.md', toPage(found, Object.keys(charts)))
  for (const [name, svg] of Object.entries(charts)) put(`docs/benchmarks/${name}.svg`, svg)
}
