/** Bytes that are kept for a shell that does not read; a terminal itself keeps 4096. */
const MAX_KEPT_BYTES = 1024 * 1024
/** What one message counts besides its bytes. */
const MESSAGE_BYTES = 256
/** ms in which nothing is read before what comes above that is dropped, as a terminal does. */
const PATIENCE_MS = 5000

/** What is typed at a terminal and not yet taken, in order. */
export interface TypeAhead {
  add(bytes: Uint8Array): void
  /** Drops what was typed for a shell that is going. */
  clear(): void
  /** Does `act` once all that came before is taken, and before all that comes later. */
  after(act: () => Promise<unknown>): void
  /** Idempotent. */
  close(): void
}

export interface TypeAheadOptions {
  /** Resolves when more may be written. */
  readonly write: (bytes: Uint8Array) => Promise<void>
  /** False: no more should come. */
  readonly onRoom: (hasRoom: boolean) => void
  /** Nobody reads; what comes is dropped until somebody does. */
  readonly onDrop: () => void
}

export function createTypeAhead({ write, onRoom, onDrop }: TypeAheadOptions): TypeAhead {
  let last = Promise.resolve()
  let kept = 0
  let era = 0
  let stalled: NodeJS.Timeout | undefined
  /** Since there was no room. */
  let state: 'open' | 'full' | 'dropping' = 'open'

  const drop = (): void => {
    state = 'dropping'
    onDrop()
    onRoom(true)
  }
  const open = (): void => {
    clearTimeout(stalled)
    if (state === 'full') onRoom(true)
    state = 'open'
  }
  const taken = (size: number): void => {
    kept -= size
    if (kept <= MAX_KEPT_BYTES) open()
    else stalled?.refresh()
  }
  return {
    add(bytes) {
      if (state === 'dropping') return
      const size = bytes.length + MESSAGE_BYTES
      kept += size
      if (kept > MAX_KEPT_BYTES) {
        if (state === 'open') onRoom(false)
        state = 'full'
        clearTimeout(stalled)
        stalled = setTimeout(drop, PATIENCE_MS).unref()
      }
      const mine = era
      last = last
        // One that is gone reads nothing.
        .then(() => (mine === era ? write(bytes) : undefined))
        .catch(() => {})
        .finally(() => mine === era && taken(size))
    },
    clear() {
      era++
      kept = 0
      open()
    },
    after(act) {
      last = last.then(act).then(() => {})
    },
    close() {
      era++
      clearTimeout(stalled)
    },
  }
}
