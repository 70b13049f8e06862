import type { EndReason } from '@cob/protocol'
import { CobError } from '../errors.ts'
import type { Execution } from './execution.ts'
import { totalCharacters } from './executions.ts'

/** Why and when a session ended; `at` in ms since the epoch. */
export interface Ending {
  readonly reason: EndReason
  readonly at: number
}

interface Tombstone extends Ending {
  readonly owner: string
  /** Executions whose result nobody has fetched yet; dropped early. */
  unfetched: readonly Execution[]
}

/** The reason of an end is told for at least this long. */
const KEEP_MS = 3_600_000
/** About 300 bytes each; ends at the rate of 55 a second are remembered for the full hour. */
const MAX_TOMBSTONES = 200_000
const KEEP_RESULTS_MS = 300_000
const MAX_WITH_RESULTS = 100
const MAX_RESULT_CHARACTERS = 64 * 1024 * 1024

/** What is remembered of sessions that are gone. */
export interface Tombstones {
  add(kernelId: string, owner: string, ending: Ending, unfetched: readonly Execution[]): void
  /** Only to its owner: to anybody else it never was. */
  find(kernelId: string, owner: string): Ending | undefined
  /** An execution that ended with its session, to be fetched this once. */
  takeExecution(kernelId: string, owner: string, codeId: string): Execution | undefined
  /** Drops what is old. */
  sweep(): void
}

export function createTombstones(): Tombstones {
  const tombstones = new Map<string, Tombstone>()
  const withResults: Tombstone[] = []
  const find = (kernelId: string, owner: string): Tombstone | undefined => {
    const tombstone = tombstones.get(kernelId)
    return tombstone?.owner === owner ? tombstone : undefined
  }
  return {
    add(kernelId, owner, ending, unfetched) {
      const tombstone: Tombstone = { ...ending, owner, unfetched }
      tombstones.set(kernelId, tombstone)
      if (unfetched.length > 0) withResults.push(tombstone)
      this.sweep()
    },
    find,
    takeExecution(kernelId, owner, codeId) {
      const tombstone = find(kernelId, owner)
      const execution = tombstone?.unfetched.find((candidate) => candidate.isCalled(codeId))
      if (tombstone) tombstone.unfetched = tombstone.unfetched.filter((other) => other !== execution)
      return execution
    },
    sweep() {
      const now = Date.now()
      // Insertion order is the order of ending, so the old ones come first.
      for (const [id, { at }] of tombstones) {
        if (now - at < KEEP_MS && tombstones.size <= MAX_TOMBSTONES) break
        tombstones.delete(id)
      }
      while (
        withResults[0] &&
        (now - withResults[0].at >= KEEP_RESULTS_MS ||
          withResults.length > MAX_WITH_RESULTS ||
          totalCharacters(withResults.flatMap((each) => each.unfetched)) > MAX_RESULT_CHARACTERS)
      ) {
        const oldest = withResults.shift()
        for (const { output } of oldest?.unfetched ?? []) output.release()
        if (oldest) oldest.unfetched = []
      }
    },
  }
}

/** 404; names the reason and the time where there was such a session. */
export function goneError(kernelId: string, ending: Ending | undefined): CobError {
  if (!ending) return CobError.of('no-such-kernel', { id: kernelId })
  const terminatedAt = new Date(ending.at).toISOString()
  return CobError.of(
    'kernel-gone',
    { id: kernelId, reason: ending.reason, terminatedAt },
    { extra: { reason: ending.reason, terminatedAt } },
  )
}
