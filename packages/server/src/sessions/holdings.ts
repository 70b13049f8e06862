import type { Owner } from './owner.ts'

/** Characters that one owner makes this server keep: code that waits or runs, output nobody has fetched, answers on their way. */
export interface Held {
  /** False, and nothing is taken, when the owner would hold more than is then left free, whatever is given back that can be. */
  take(characters: number): boolean
  give(characters: number): void
  /** `giveBack` is called when the owner needs room, in the order of these calls; returns how to take that back. */
  mayReclaim(giveBack: () => void): () => void
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
  const reclaimable = new Map<Owner, Set<() => void>>()
  let total = 0
  const change = (owner: Owner, characters: number): void => {
    const held = (byOwner.get(owner) ?? 0) + characters
    total += characters
    if (held === 0) byOwner.delete(owner)
    else byOwner.set(owner, held)
  }
  const fits = (owner: Owner, characters: number): boolean =>
    characters <= 0 || (byOwner.get(owner) ?? 0) + characters <= maxCharacters - total - characters
  return {
    of: (owner) => ({
      take(characters) {
        if (!fits(owner, characters)) {
          for (const giveBack of reclaimable.get(owner) ?? []) {
            giveBack()
            if (fits(owner, characters)) break
          }
          if (!fits(owner, characters)) return false
        }
        change(owner, characters)
        return true
      },
      give: (characters) => change(owner, -characters),
      mayReclaim(giveBack) {
        const owned = reclaimable.get(owner) ?? new Set()
        reclaimable.set(owner, owned.add(giveBack))
        return () => {
          owned.delete(giveBack)
          if (owned.size === 0 && reclaimable.get(owner) === owned) reclaimable.delete(owner)
        }
      },
    }),
  }
}
