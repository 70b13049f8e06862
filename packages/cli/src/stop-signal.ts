/** SIGHUP comes when the terminal is closed. Node does not inherit nohup(1)'s wish to ignore it. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/**
 * Ctrl-C reaches every process of a terminal, and npm and the launcher pass theirs on as well: one key press arrives
 * more than once.
 */
const SAME_PRESS_MS = 500

/**
 * Calls `stop` at the first SIGINT, SIGTERM or SIGHUP; one that `takes` wants, which is asked once, comes before that. A second one, if it
 * is not the same key press, has its usual effect and ends the process at once. Returns what gives the signals their usual effect again.
 */
export function onStopSignal(
  stop: (signal: NodeJS.Signals) => void,
  takes: (signal: NodeJS.Signals) => boolean = () => false,
): () => void {
  let isFirst = true
  let takenAt: number | undefined
  const listener = (signal: NodeJS.Signals): void => {
    if (takenAt !== undefined && performance.now() - takenAt < SAME_PRESS_MS) return
    if (takenAt === undefined && isFirst && takes(signal)) {
      takenAt = performance.now()
      return
    }
    if (!isFirst) return
    isFirst = false
    setTimeout(close, SAME_PRESS_MS).unref()
    stop(signal)
  }
  const close = (): void => {
    for (const signal of SIGNALS) process.off(signal, listener)
  }
  for (const signal of SIGNALS) process.on(signal, listener)
  return close
}
