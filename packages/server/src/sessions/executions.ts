import { CobError } from '../errors.ts'
import { Execution, type ExecutionEnd, type ExecutionOptions, toHeldCharacters } from './execution.ts'
import { copy, type OutputEvent } from './output.ts'
import type { ExecuteReply, Recovery } from './recovery.ts'

type StreamEvent = Extract<OutputEvent, { type: 'stream' }>

/** Ended executions that can still be asked for; the oldest is dropped first. */
const MAX_ENDED = 16
/** Characters they keep together, so that what nobody fetches cannot fill the server. */
const MAX_ENDED_CHARACTERS = 32 * 1024 * 1024
/** Characters kept of what background threads and processes print while nothing runs. */
const MAX_UNOWNED_CHARACTERS = 65_536

export interface ExecutionsOptions extends Pick<ExecutionOptions, 'held' | 'onPressure' | 'onRecord'> {
  /** Executions that may wait; at least 1. */
  readonly maxQueued: number
  readonly onEnd: (execution: Execution) => void
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
  /** Takes back the one that was added last: it never was. */
  retract(execution: Execution): void
  /** Takes up what another server and the agent kept of them. */
  restore(recovery: Recovery, asking: boolean, quietMs: number): void
  /** Moves the first waiting one to `current`, with what was printed while nothing ran. `oomKills`: there have been by now. */
  startNext(oomKills: number): Execution | undefined
  /** The current one's code has come to an end by itself. */
  finishCurrent(reply: ExecuteReply): void
  /** Ends one that waits; false where it does not. */
  cancel(execution: Execution): boolean
  /** Ends the current one and all that wait. */
  endAll(end: ExecutionEnd): void
  /** Ends the current one, and those that wait if the restart is `ofAll`, for another interpreter that takes the place of theirs. */
  endByRestart(ofAll: boolean): void
  /** The lowest number of those that are kept, or the next one's. */
  readonly firstKept: number
  /** See `Execution.leave`. */
  leave(): void
  /** Oldest first. */
  ended(): readonly Execution[]
  /** Keeps output that belongs to no execution; the next one starts with it. */
  streamUnowned(event: StreamEvent): void
  dropUnowned(): void
  /** Drops what is old. */
  sweep(): void
}

export function createExecutions({
  maxQueued,
  held,
  onPressure,
  onEnd,
  onRecord,
}: ExecutionsOptions): Executions {
  const waiting: Execution[] = []
  const ended: Execution[] = []
  let current: Execution | undefined
  let accepted = 0
  let unowned = { stdout: '', stderr: '' }

  const keepEnded = (execution: Execution): void => {
    ended.push(execution)
    while (ended.length > MAX_ENDED || totalCharacters(ended) > MAX_ENDED_CHARACTERS) ended.shift()?.release()
  }
  const keep = (execution: Execution): void => {
    onEnd(execution)
    keepEnded(execution)
  }
  /** Takes out the current one, and those that wait. */
  const takeAll = (): Execution[] => {
    const all = [...(current ? [current] : []), ...waiting.splice(0)]
    current = undefined
    return all
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
      const execution = new Execution(code, codeId, { count: accepted, held, onPressure, onRecord })
      waiting.push(execution)
      return execution
    },
    retract(execution) {
      const at = waiting.indexOf(execution)
      if (at >= 0) waiting.splice(at, 1)
      if (current === execution) {
        current = undefined
        unowned = { ...unowned, ...execution.unowned }
      }
      accepted--
      execution.end({ status: 'interrupted' })
      execution.release()
    },
    restore(recovery, asking, quietMs) {
      accepted = recovery.accepted
      for (const recovered of recovery.executions) {
        const { id, codeId, count } = recovered.record
        const code = recovered.state === 'waiting' ? (recovered.record.code ?? '') : ''
        const mayBeHeld = held.take(toHeldCharacters(code))
        const execution = new Execution(code, codeId, { id, count, held, onPressure, onRecord })
        execution.restore(recovered, asking, quietMs)
        if (!mayBeHeld) {
          // Settings were changed meanwhile. It gives back at its end what it has not taken.
          held.give(-toHeldCharacters(code))
          execution.endBy('restart')
        }
        if (execution.ended) keepEnded(execution)
        else if (recovered.state === 'running') current = execution
        else waiting.push(execution)
      }
      for (const event of recovery.unowned) this.streamUnowned(event)
    },
    startNext(oomKills) {
      current = waiting.shift()
      if (!current) return undefined
      current.start({ unowned, oomKills })
      dropUnowned()
      return current
    },
    finishCurrent(reply) {
      if (!current) return
      current.finish(reply)
      keep(current)
      current = undefined
    },
    cancel(execution) {
      const at = waiting.indexOf(execution)
      if (at < 0) return false
      waiting.splice(at, 1)
      execution.endBy('interrupt')
      onRecord(execution)
      keep(execution)
      return true
    },
    endAll(end) {
      for (const execution of takeAll()) {
        execution.end(end)
        keep(execution)
      }
    },
    endByRestart(ofAll) {
      const kept = ofAll ? [] : waiting.splice(0)
      for (const execution of takeAll()) {
        execution.endBy('restart')
        onRecord(execution)
        keep(execution)
      }
      waiting.push(...kept)
    },
    get firstKept() {
      return Math.min(accepted + 1, ...known().map(({ count }) => count))
    },
    leave() {
      for (const execution of known()) execution.leave()
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
