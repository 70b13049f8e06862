import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 5

/**
 * Asks until it is so. Rejects with what was asked after `withinMs`: a test's own timeout would end the test,
 * and not the loop, which would keep its process.
 */
export async function until(isSo: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not so within ${withinMs} ms: ${isSo}`)), withinMs)
  try {
    while (!(await Promise.race([isSo(), late.promise]))) await delay(POLL_MS)
  } finally {
    clearTimeout(timer)
  }
}
