import type { Store } from './store.ts'

/** The same store; `onAnswer` is told how long each of its methods took, whether it answered or threw. */
export function observeStore(store: Store, onAnswer: (operation: string, durationMs: number) => void): Store {
  const observed = Object.entries(store).map(([operation, method]) => {
    if (typeof method !== 'function') return [operation, method]
    const timed = (...args: unknown[]): unknown => {
      const startedAt = performance.now()
      try {
        // It is called with what its own caller gave.
        return (method as (...args: unknown[]) => unknown).apply(store, args)
      } finally {
        onAnswer(operation, performance.now() - startedAt)
      }
    }
    return [operation, timed]
  })
  // The same names, the same functions within.
  return Object.fromEntries(observed) as Store
}
