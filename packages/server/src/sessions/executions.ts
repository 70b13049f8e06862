import { CobError } from '../errors.ts'
import { Execution, type ExecutionEnd, toHeldCharacters } from './execution.ts'
import type { Held } from './holdings.ts'
import { copy, type OutputEvent } from './output.ts'

type StreamEvent = Extract<OutputEvent, { type: 'stream' }>

/** Ended executions that can still be asked for; the oldest is dropped first. */
const MAX_ENDED = 16
/** Characters they keep together, so that what nobody fetches cannot fill the server. */
const MAX_ENDED_CHARACTERS = 32 * 1024 * 1024
/** Characters kept of what background threads and processes print while nothing runs. */
const MAX_UNOWNED_CHARACTERS = 65_536

export interface ExecutionsOptions {
  /** Executions that may wait; at least 1. */
  readonly maxQueued: number
  readonly held: Held
  /** The current execution's reader does not keep up, or does again. */
  readonly onPressure: (isPressing: boolean) => void
  readonly onEnd: (execution: Execution, end: ExecutionEnd) => void
}

/** The executions of one session: one running, some waiting in order of arrival, the last ones that ended. */
export interface Executions {
  /** Accepted since the session was created. */
  readonly accepted: number
  readonly current: Execution | undefined
  /** By codeId or execution id: one that has not ended, or whose result has not been fetched. */
  find(codeId: string): Execution | undefined
  /** The same of all that are kept. */
  recall(codeId: string): Execution | undefined
  /** Throws `queue-full` and `too-much-held`. */
  add(kernelId: string, code: string, codeId: string | undefined): Execution
  /** Moves the first waiting one to `current`, with what was printed while nothing ran. */
  startNext(): Execution | undefined
  endCurrent(end: ExecutionEnd): void
  /** Ends one that waits; false where it does not. */
  cancel(execution: Execution): boolean
  /** Ends the current one and all that wait. */
  endAll(end: ExecutionEnd): void
  /** Oldest first. */
  ended(): readonly Execution[]
  /** Keeps output that belongs to no execution; the next one starts with it. */
  streamUnowned(event: StreamEvent): void
  dropUnowned(): void
  /** Drops what is old. */
  sweep(): void
}

export function createExecutions({ maxQueued, held, onPressure, onEnd }: ExecutionsOptions): Executions {
  const waiting: Execution[] = []
  const ended: Execution[] = []
  let current: Execution | undefined
  let accepted = 0
  let unowned = { stdout: '', stderr: '' }

  const keep = (execution: Execution, end: ExecutionEnd): void => {
    execution.end(end)
    onEnd(execution, end)
    ended.push(execution)
    while (ended.length > MAX_ENDED || totalCharacters(ended) > MAX_ENDED_CHARACTERS) ended.shift()?.release()
  }
  const endCurrent = (end: ExecutionEnd): void => {
    if (!current) return
    const execution = current
    current = undefined
    keep(execution, end)
  }
  const dropUnowned = (): void => {
    unowned = { stdout: '', stderr: '' }
  }
  // The newest first: a codeId may have been used before.
  const known = (): Execution[] => [...waiting, ...(current ? [current] : []), ...ended.toReversed()]

  return {
    get accepted() {
      return accepted
    },
    get current() {
      return current
    },
    find: (codeId) => known().find((execution) => execution.isCalled(codeId) && !execution.fetched),
    recall: (codeId) => known().find((execution) => execution.isCalled(codeId)),
    add(kernelId, code, codeId) {
      if (waiting.length >= maxQueued) {
        throw CobError.of('queue-full', { id: kernelId, count: waiting.length }, { retryAfterS: 1 })
      }
      if (!held.take(toHeldCharacters(code))) throw CobError.of('too-much-held', {}, { retryAfterS: 1 })
      accepted++
      const execution = new Execution(code, codeId, { count: accepted, held, onPressure })
      waiting.push(execution)
      return execution
    },
    startNext() {
      current = waiting.shift()
      if (!current) return undefined
      current.start()
      for (const name of ['stdout', 'stderr'] as const)
        if (unowned[name] !== '') current.add({ type: 'stream', name, text: unowned[name] })
      dropUnowned()
      return current
    },
    endCurrent,
    cancel(execution) {
      const at = waiting.indexOf(execution)
      if (at < 0) return false
      waiting.splice(at, 1)
      keep(execution, { status: 'interrupted' })
      return true
    },
    endAll(end) {
      endCurrent(end)
      for (const execution of waiting.splice(0)) keep(execution, end)
    },
    ended: () => [...ended],
    streamUnowned({ name, text }) {
      const room = MAX_UNOWNED_CHARACTERS - unowned.stdout.length - unowned.stderr.length
      if (room > 0) unowned[name] = copy(unowned[name] + text.slice(0, room))
    },
    dropUnowned,
    sweep() {
      const now = performance.now()
      for (const execution of ended) execution.sweep(now)
    },
  }
}

/** Of what these executions keep. */
export function totalCharacters(executions: readonly Execution[]): number {
  return executions.reduce((sum, { characters }) => sum + characters, 0)
}
