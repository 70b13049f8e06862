import type { Owner } from './sessions.ts'

/** Characters that one owner makes this server keep: code that waits or runs, output nobody has fetched, answers on their way. */
export interface Held {
  /** False, and nothing is taken, when the owner would hold more than is then left free. */
  take(characters: number): boolean
  give(characters: number): void
}

export interface Holdings {
  of(owner: Owner): Held
}

/**
 * Divides `maxCharacters` between owners. Nobody may hold more than what is still free: one alone gets half of it, a second one half of
 * the rest, and so there is always something left for who comes next.
 */
export function createHoldings(maxCharacters: number): Holdings {
  const byOwner = new Map<Owner, number>()
  let total = 0
  const change = (owner: Owner, characters: number): void => {
    const held = (byOwner.get(owner) ?? 0) + characters
    total += characters
    if (held === 0) byOwner.delete(owner)
    else byOwner.set(owner, held)
  }
  return {
    of: (owner) => ({
      take(characters) {
        const holds = (byOwner.get(owner) ?? 0) + characters
        if (characters > 0 && holds > maxCharacters - total - characters) return false
        change(owner, characters)
        return true
      },
      give: (characters) => change(owner, -characters),
    }),
  }
}
