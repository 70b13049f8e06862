/** Hands out host user ids, each to one live sandbox at a time. */
export interface Uids {
  /** Throws when all are in use. */
  take(): number
  /** Takes one that a sandbox already has, inside the range or not. */
  claim(uid: number): void
  give(uid: number): void
}

/** Ids `base` to `base + count - 1`, in turn, so that an id rests as long as possible before it is used again. */
export function createUids(base: number, count: number): Uids {
  const taken = new Set<number>()
  let next = 0
  return {
    take() {
      if (taken.size >= count) {
        throw new Error(`all ${count} user ids from ${base} on are in use by sandboxes; widen the range`)
      }
      while (taken.has(base + next)) next = (next + 1) % count
      const uid = base + next
      taken.add(uid)
      next = (next + 1) % count
      return uid
    },
    claim: (uid) => void taken.add(uid),
    give: (uid) => void taken.delete(uid),
  }
}
