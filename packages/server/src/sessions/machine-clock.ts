/** CLOCK_MONOTONIC (clock_gettime(2)) runs for the whole machine, whatever is done to the time of day; this process's clock began later. */
const OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** A time of `performance.now()` as any process of this machine understands it until the next boot. */
export function toMachineTime(now: number): number {
  return now + OFFSET_MS
}

/** The way back; negative for what was before this process. */
export function fromMachineTime(at: number): number {
  return at - OFFSET_MS
}
