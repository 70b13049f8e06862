import { getSystemErrorMessage } from 'node:util'
import { CobError } from '../errors.ts'
import type { Store } from './store.ts'

export interface StoreAnswer {
  /** The method; those of a part are named `part.method`. */
  readonly operation: string
  readonly durationMs: number
  readonly isError: boolean
}

const RETRY_AFTER_S = 1
/** SQLITE_CONSTRAINT (https://sqlite.org/rescode.html): what was to be written was wrong, and not the database. */
const CONSTRAINT = 19

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
      let isError = false
      try {
        return value.apply(part, args)
      } catch (cause) {
        const problem = toFault(cause)
        // Anything else is a refusal of what it was asked to do, or an error of ours.
        if (problem === undefined) throw cause
        isError = true
        throw CobError.of('not-recorded', { problem }, { cause, retryAfterS: RETRY_AFTER_S })
      } finally {
        onAnswer({ operation, durationMs: performance.now() - startedAt, isError })
      }
    }
    return [name, ask]
  })
  return Object.fromEntries(guarded)
}

/** What is wrong with the disk or the database; undefined for any other error. */
function toFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  // Without the path, which is nobody else's business.
  if ('syscall' in error && 'errno' in error) return getSystemErrorMessage(-Math.abs(Number(error.errno)))
  if (!('errcode' in error && typeof error.errcode === 'number')) return undefined
  return (error.errcode & 0xff) === CONSTRAINT ? undefined : error.message
}
