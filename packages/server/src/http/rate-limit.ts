/** Length of the window requests are counted in, ms. */
const WINDOW_MS: number = 15 * 60_000
/** Counters kept at once; beyond, the window that ends first is forgotten early. */
const MAX_COUNTERS = 100_000

interface Allowance {
  readonly limit: number
  readonly remaining: number
  /** ms until the window ends */
  readonly resetMs: number
  readonly exceeded: boolean
}

/** Counts requests by key or address in fixed windows. */
export interface RateLimiter {
  /** Counts one request of `who`. */
  take(who: string, limit: number): Allowance
}

export function createRateLimiter(now: () => number): RateLimiter {
  const counters = new Map<string, { endsAt: number; count: number }>()
  return {
    take(who, limit) {
      const time = now()
      let counter = counters.get(who)
      if (!counter || counter.endsAt <= time) {
        counters.delete(who)
        if (counters.size >= MAX_COUNTERS) {
          // Insertion order is the order in which windows end.
          const [oldest] = counters.keys()
          if (oldest !== undefined) counters.delete(oldest)
        }
        counter = { endsAt: time + WINDOW_MS, count: 0 }
        counters.set(who, counter)
      }
      counter.count++
      return {
        limit,
        remaining: Math.max(0, limit - counter.count),
        resetMs: Math.ceil(counter.endsAt - time),
        exceeded: counter.count > limit,
      }
    },
  }
}
