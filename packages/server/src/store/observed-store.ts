import type { Store } from './store.ts'

type OnAnswer = (operation: string, durationMs: number) => void

/** The same store; `onAnswer` is told how long each of its methods took, whether it answered or threw. Those of a part are named `part.method`. */
export function observeStore(store: Store, onAnswer: OnAnswer): Store {
  // The same names, the same functions within.
  return observe(store, '', onAnswer) as Store
}

function observe(part: object, prefix: string, onAnswer: OnAnswer): object {
  const observed = Object.entries(part).map(([name, value]) => {
    const operation = prefix + name
    if (typeof value !== 'function') return [name, observe(value, `${operation}.`, onAnswer)]
    const timed = (...args: unknown[]): unknown => {
      const startedAt = performance.now()
      try {
        return value.apply(part, args)
      } finally {
        onAnswer(operation, performance.now() - startedAt)
      }
    }
    return [name, timed]
  })
  return Object.fromEntries(observed)
}
