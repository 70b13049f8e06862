export type Unit = 'ms' | '/s' | 'MB/s' | 'MiB' | 'times'

/** Of one round, or the median over rounds of each of the three. */
export interface Figures {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly count: number
}

/** Nearest-rank percentiles of the samples of one round. */
export function summarize(samples: readonly number[]): Figures {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), count: sorted.length }
}

/** Each figure's median over the rounds. */
export function medianOf(rounds: readonly Figures[]): Figures {
  const median = (pick: (figures: Figures) => number): number => summarize(rounds.map(pick)).p50
  return {
    p50: median(({ p50 }) => p50),
    p90: median(({ p90 }) => p90),
    p99: median(({ p99 }) => p99),
    count: rounds.reduce((sum, { count }) => sum + count, 0),
  }
}

/** ms that `act` takes, one after another, `count` times. */
export async function time(count: number, act: (index: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = []
  for (let index = 0; index < count; index++) {
    const began = performance.now()
    await act(index)
    times.push(performance.now() - began)
  }
  return times
}

/** Calls `act` from `workers` at once until `seconds` are over; how many calls a second ended. */
export async function rate(
  workers: number,
  seconds: number,
  act: (worker: number) => Promise<unknown>,
): Promise<number> {
  let count = 0
  const began = performance.now()
  const work = async (worker: number): Promise<void> => {
    while (performance.now() - began < seconds * 1000) {
      await act(worker)
      count++
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
  return (count * 1000) / (performance.now() - began)
}
