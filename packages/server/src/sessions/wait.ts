const MAX_TIMER_MS = 2 ** 31 - 1

/** Waits for the event, at most `ms` (may be infinite). Rejects with the signal's reason when it aborts. */
export async function wait(event: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>()
  const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.min(Math.ceil(ms), MAX_TIMER_MS)) : undefined
  const abort = (): void => reject(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([event, stopped])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
