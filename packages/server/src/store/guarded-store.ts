import { CobError } from '../errors.ts'
import type { Store } from './store.ts'

export interface StoreAnswer {
  /** The method; those of a part are named `part.method`. */
  readonly operation: string
  readonly durationMs: number
  readonly isError: boolean
}

const RETRY_AFTER_S = 1

/**
 * The same store, whose faults (a disk that is full, a lock that another process holds, a file that is damaged) are `not-recorded`: what it is
 * asked for is not done then. `onAnswer` is told of each answer.
 */
export function guardStore(store: Store, onAnswer: (answer: StoreAnswer) => void): Store {
  // The same names, the same functions within.
  return guard(store, '', onAnswer) as Store
}

function guard(part: object, prefix: string, onAnswer: (answer: StoreAnswer) => void): object {
  const guarded = Object.entries(part).map(([name, value]) => {
    const operation = prefix + name
    if (typeof value !== 'function') return [name, guard(value, `${operation}.`, onAnswer)]
    const ask = (...args: unknown[]): unknown => {
      const startedAt = performance.now()
      let isError = true
      try {
        const answer = value.apply(part, args)
        isError = false
        return answer
      } catch (cause) {
        // Of what it was asked to do, a refusal.
        if (cause instanceof CobError) {
          isError = false
          throw cause
        }
        const problem = cause instanceof Error ? cause.message : String(cause)
        throw CobError.of('not-recorded', { problem }, { cause, retryAfterS: RETRY_AFTER_S })
      } finally {
        onAnswer({ operation, durationMs: performance.now() - startedAt, isError })
      }
    }
    return [name, ask]
  })
  return Object.fromEntries(guarded)
}
