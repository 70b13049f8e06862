/**
 * `npm run bench:check`: notices a gross loss of speed, on any machine, however busy: figures of the server are compared with those of the
 * bare loop (`subjects/bare.ts`), measured in turn with it, and only their ratio counts. Ends with status 1 where one is below its floor.
 */
import { summarize, time } from './figures.ts'
import { first, measureThroughput, type Scale } from './rows.ts'
import { startBare } from './subjects/bare.ts'
import { startCob } from './subjects/cob.ts'

const ROUNDS = 5
const SCALE: Scale = {
  rounds: 1,
  share: 1,
  churnSeconds: 1,
  rateSeconds: 2,
  sessions: [],
  outputBytes: [],
}
/** Times as fast as the bare loop: a third of what it usually is, or less. */
const FLOORS = { live: 0.12, throughput: 0.05, 'first, cold': 0.12, 'first, warm': 1.5 } as const
type Figure = keyof typeof FLOORS

const found: Record<Figure, number[]> = { live: [], throughput: [], 'first, cold': [], 'first, warm': [] }
const median = (samples: readonly number[]): number => summarize(samples).p50
const [cob, cold, bare] = [await startCob(), await startCob({ COB_MAX_WARM: '0' }), await startBare()]
try {
  const [ours, theirs] = [await cob.create(), await bare.create()]
  for (const kernel of [ours, theirs]) await time(1000, () => kernel.run('1+1'))
  for (let round = 0; round < ROUNDS; round++) {
    const ourLive = await time(200, () => ours.run('1+1'))
    const theirLive = await time(200, () => theirs.run('1+1'))
    found.live.push(median(theirLive) / median(ourLive))
    found.throughput.push((await measureThroughput(cob, SCALE)) / (await measureThroughput(bare, SCALE)))
    const bareStart = median(await time(8, () => first(bare)))
    found['first, cold'].push(bareStart / median(await time(4, () => first(cold))))
    const warm: number[] = []
    for (let i = 0; i < 8; i++) {
      await cob.settle()
      warm.push(await first(cob))
    }
    found['first, warm'].push(bareStart / median(warm))
  }
} finally {
  await Promise.all([cob.close(), cold.close(), bare.close()])
}

for (const [figure, floor] of Object.entries(FLOORS) as [Figure, number][]) {
  const ratio = median(found[figure])
  const isLost = ratio < floor
  if (isLost) process.exitCode = 1
  console.log(
    `${isLost ? 'LOST' : 'ok  '} ${figure.padEnd(12)} ${ratio.toFixed(2)} times the bare loop, floor ${floor}`,
  )
}
