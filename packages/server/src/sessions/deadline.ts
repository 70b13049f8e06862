const MAX_TIMER_MS = 2 ** 31 - 1

/** Counts down on the monotonic clock; can be held while the code waits for its user. */
export interface Deadline {
  start(ms: number): void
  pause(): void
  resume(): void
  stop(): void
}

export function createDeadline(expired: () => void): Deadline {
  let timer: NodeJS.Timeout | undefined
  let leftMs = 0
  let runningSince: number | undefined

  // setTimeout takes at most 2^31-1 ms, so a long time is waited for in pieces.
  const arm = (): void => {
    runningSince = performance.now()
    timer = setTimeout(check, Math.min(Math.max(leftMs, 1), MAX_TIMER_MS))
  }
  const disarm = (): void => {
    clearTimeout(timer)
    if (runningSince !== undefined) leftMs -= performance.now() - runningSince
    runningSince = undefined
  }
  const check = (): void => {
    disarm()
    if (leftMs > 0) arm()
    else expired()
  }
  return {
    start(ms) {
      disarm()
      leftMs = ms
      arm()
    },
    pause: disarm,
    resume() {
      if (runningSince === undefined) arm()
    },
    stop: disarm,
  }
}
