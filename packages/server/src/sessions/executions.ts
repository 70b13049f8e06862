import { CobError } from '../errors.ts'
import { Execution, type ExecutionEnd, toHeldCharacters } from './execution.ts'
import type { Held } from './holdings.ts'
import { copy, type OutputEvent } from './output.ts'

type StreamEvent = Extract<OutputEvent, { type: 'stream' }>

/** Ended executions whose result nobody has fetched yet; the oldest is dropped first. */
const MAX_UNFETCHED = 16
/** Characters of their output together, so that what nobody fetches cannot fill the server. */
const MAX_UNFETCHED_CHARACTERS = 32 * 1024 * 1024
/** Characters kept of what background threads and processes print while nothing runs. */
const MAX_UNOWNED_CHARACTERS = 65_536

/** The executions of one session: one running, some waiting in order of arrival, some ended and not yet fetched. */
export interface Executions {
  /** Accepted since the session was created. */
  readonly accepted: number
  readonly current: Execution | undefined
  /** By codeId or execution id. */
  find(codeId: string): Execution | undefined
  /** Throws `queue-full` and `too-much-held`. */
  add(kernelId: string, code: string, codeId: string | undefined): Execution
  /** Moves the first waiting one to `current`, with what was printed while nothing ran. */
  startNext(): Execution | undefined
  endCurrent(end: ExecutionEnd): void
  /** Ends the current one and all that wait. */
  endAll(end: ExecutionEnd): void
  forget(execution: Execution): void
  /** Ended, and their result not fetched yet; oldest first. */
  unfetched(): readonly Execution[]
  /** Keeps output that belongs to no execution; the next one starts with it. */
  streamUnowned(event: StreamEvent): void
  dropUnowned(): void
}

export function createExecutions(maxQueued: number, held: Held): Executions {
  const waiting: Execution[] = []
  const unfetched: Execution[] = []
  let current: Execution | undefined
  let accepted = 0
  let unowned = { stdout: '', stderr: '' }

  const keepUntilFetched = (execution: Execution): void => {
    unfetched.push(execution)
    while (unfetched.length > MAX_UNFETCHED || totalCharacters(unfetched) > MAX_UNFETCHED_CHARACTERS)
      unfetched.shift()?.output.release()
  }
  const endCurrent = (end: ExecutionEnd): void => {
    if (!current) return
    keepUntilFetched(current)
    current.end(end)
    current = undefined
  }
  const dropUnowned = (): void => {
    unowned = { stdout: '', stderr: '' }
  }

  return {
    get accepted() {
      return accepted
    },
    get current() {
      return current
    },
    find(codeId) {
      const known = [...unfetched, ...(current ? [current] : []), ...waiting]
      return known.find((execution) => execution.isCalled(codeId))
    },
    add(kernelId, code, codeId) {
      if (waiting.length >= maxQueued) {
        throw CobError.of('queue-full', { id: kernelId, count: waiting.length }, { retryAfterS: 1 })
      }
      if (!held.take(toHeldCharacters(code))) throw CobError.of('too-much-held', {}, { retryAfterS: 1 })
      accepted++
      const execution = new Execution(code, codeId, accepted, held)
      waiting.push(execution)
      return execution
    },
    startNext() {
      current = waiting.shift()
      if (!current) return undefined
      for (const name of ['stdout', 'stderr'] as const)
        current.output.add({ type: 'stream', name, text: unowned[name] })
      dropUnowned()
      current.start()
      return current
    },
    endCurrent,
    endAll(end) {
      endCurrent(end)
      for (const execution of waiting.splice(0)) {
        keepUntilFetched(execution)
        execution.end(end)
      }
    },
    forget(execution) {
      const at = unfetched.indexOf(execution)
      if (at >= 0) unfetched.splice(at, 1)
    },
    unfetched: () => [...unfetched],
    streamUnowned({ name, text }) {
      const room = MAX_UNOWNED_CHARACTERS - unowned.stdout.length - unowned.stderr.length
      if (room > 0) unowned[name] = copy(unowned[name] + text.slice(0, room))
    },
    dropUnowned,
  }
}

/** Of what these executions hold of output. */
export function totalCharacters(executions: readonly Execution[]): number {
  return executions.reduce((sum, { output }) => sum + output.characters, 0)
}
