import { hash, timingSafeEqual } from 'node:crypto'

/** One failed sign-in is forgiven in so many ms. */
const FORGIVE_MS = 1000
/** Failures of one network, not yet forgiven, from which on it is told to wait. */
const FREE_FAILURES = 10
/** Failures of one network that name one access key, not yet forgiven, from which on that key's secret is not always compared. */
const FREE_GUESSES = 100
/** Of each kind that are remembered; about 200 bytes each. At a million guesses a minute they are remembered for three seconds. */
const MAX_REMEMBERED = 50_000

/** Somebody tries to prove who they are. */
export interface SignIn {
  /** See `toNetwork`. */
  readonly network: string
  readonly accessKey: string
  /** The secret itself, of those who send it. */
  readonly secret: string | undefined
}

/**
 * Slows down who guesses secrets. Nobody is made to wait by holding an answer back, as held answers are held connections; a refusal
 * costs nothing and comes at once.
 */
export interface SignInGuard {
  /** ms until the secret would be compared; 0: now. Always 0 for a secret that has been right from that network before. */
  waitMs(attempt: SignIn): number
  /** Counts a secret that was compared, and wrong; ms until the next one would be forgiven, 0 while there have been few. */
  failed(attempt: SignIn): number
  succeeded(attempt: SignIn): void
}

export function createSignInGuard(now: () => number): SignInGuard {
  const failures = createBuckets(now, 2 * FREE_FAILURES)
  const guesses = createBuckets(now, FREE_GUESSES)
  const familiar = new Map<string, Buffer>()
  const nameOf = ({ network, accessKey }: SignIn): string => `${network} ${accessKey}`
  const isFamiliar = (attempt: SignIn): boolean => {
    const known = familiar.get(nameOf(attempt))
    return (
      known !== undefined && attempt.secret !== undefined && timingSafeEqual(known, digest(attempt.secret))
    )
  }
  return {
    waitMs(attempt) {
      const excess = guesses.level(nameOf(attempt)) - FREE_GUESSES + 1
      return excess <= 0 || isFamiliar(attempt) ? 0 : Math.ceil(excess * FORGIVE_MS)
    },
    failed(attempt) {
      guesses.add(nameOf(attempt))
      return failures.add(attempt.network) > FREE_FAILURES ? FORGIVE_MS : 0
    },
    succeeded(attempt) {
      const name = nameOf(attempt)
      if (attempt.secret === undefined || (familiar.has(name) && guesses.level(name) === 0)) return
      setBounded(familiar, name, digest(attempt.secret))
    },
  }
}

/** What fills by one at a time and leaks one in `FORGIVE_MS`; never above `most`. */
function createBuckets(now: () => number, most: number) {
  const buckets = new Map<string, { readonly level: number; readonly at: number }>()
  const level = (who: string): number => {
    const bucket = buckets.get(who)
    return bucket === undefined ? 0 : Math.max(0, bucket.level - (now() - bucket.at) / FORGIVE_MS)
  }
  return {
    level,
    add(who: string): number {
      const filled = Math.min(level(who) + 1, most)
      setBounded(buckets, who, { level: filled, at: now() })
      return filled
    },
  }
}

/** The one that was set longest ago is forgotten first. */
function setBounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  const [oldest] = map.size >= MAX_REMEMBERED ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
  map.set(key, value)
}

function digest(secret: string): Buffer {
  return hash('sha256', secret, 'buffer')
}
