import type { EndReason } from '@cob/protocol'
import { CobError } from '../errors.ts'
import type { TombstoneRecord } from '../store/session-store.ts'
import type { Execution } from './execution.ts'
import { totalCharacters } from './executions.ts'

/** Why and when a session ended; `at` in ms since the epoch. */
export interface Ending {
  readonly reason: EndReason
  readonly at: number
}

interface Tombstone extends Ending {
  readonly owner: string
  /** The last executions; dropped early. */
  executions: readonly Execution[]
}

/** The reason of an end is told for at least this long. */
export const KEEP_MS = 3_600_000
/** About 300 bytes each; ends at the rate of 55 a second are remembered for the full hour. */
const MAX_TOMBSTONES = 200_000
const KEEP_RESULTS_MS = 300_000
const MAX_WITH_RESULTS = 100
const MAX_RESULT_CHARACTERS = 64 * 1024 * 1024

/** What is remembered of sessions that are gone. */
export interface Tombstones {
  add(kernelId: string, owner: string, ending: Ending, executions: readonly Execution[]): void
  /** Only to its owner: to anybody else it never was. */
  find(kernelId: string, owner: string): Ending | undefined
  /** An execution that ended with its session or shortly before. */
  findExecution(kernelId: string, owner: string, codeId: string): Execution | undefined
  /** Drops what is old. */
  sweep(): void
}

/** With those that an earlier server left, oldest first. */
export function createTombstones(earlier: readonly TombstoneRecord[]): Tombstones {
  const tombstones = new Map<string, Tombstone>(
    earlier.map(({ kernelId, ...rest }) => [kernelId, { ...rest, executions: [] }]),
  )
  const withResults: Tombstone[] = []
  const find = (kernelId: string, owner: string): Tombstone | undefined => {
    const tombstone = tombstones.get(kernelId)
    return tombstone?.owner === owner ? tombstone : undefined
  }
  return {
    add(kernelId, owner, ending, executions) {
      const tombstone: Tombstone = { ...ending, owner, executions }
      tombstones.set(kernelId, tombstone)
      if (executions.length > 0) withResults.push(tombstone)
      this.sweep()
    },
    find,
    findExecution: (kernelId, owner, codeId) =>
      find(kernelId, owner)?.executions.findLast((candidate) => candidate.isCalled(codeId)),
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
          totalCharacters(withResults.flatMap((each) => each.executions)) > MAX_RESULT_CHARACTERS)
      ) {
        const oldest = withResults.shift()
        for (const execution of oldest?.executions ?? []) execution.release()
        if (oldest) oldest.executions = []
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
