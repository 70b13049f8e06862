import type { WebSocket } from 'ws'
import type { ConnectionBounds } from './connections.ts'

/** RFC 6455, 7.4.1. */
export const NORMAL = 1000
export const GOING_AWAY = 1001
const POLICY_VIOLATION = 1008
/** Bytes that may wait for a client before nothing more is sent. */
const MAX_WAITING_BYTES = 1024 * 1024

/** How WebSockets are watched over. */
export interface Watch {
  readonly bounds: Pick<ConnectionBounds, 'pingMs'>
  /** Whether the key with this access key is still good. */
  readonly isWelcome: (owner: string) => boolean
}

/** Ends a connection whose client does not answer pings, or has a key that is no longer good. */
export function watchOver(socket: WebSocket, owner: string, { bounds, isWelcome }: Watch): void {
  let isThere = true
  const timer = setInterval(() => {
    if (!isWelcome(owner)) {
      socket.close(POLICY_VIOLATION, 'the key is disabled')
      // For the client's own goodbye.
      socket.resume()
    }
    // While nothing of it is read, its pongs are not either.
    else if (!isThere && !socket.isPaused) socket.terminate()
    else if (!socket.isPaused) {
      isThere = false
      socket.ping()
    }
  }, bounds.pingMs)
  socket
    .on('pong', () => {
      isThere = true
    })
    .on('message', () => {
      isThere = true
    })
    .once('close', () => clearInterval(timer))
    // What broke the connection is of no interest to anybody who is left.
    .on('error', () => {})
}

/** Sends a message; false when the client is behind: `onDrain` is called when it has caught up. */
export function sendJson(socket: WebSocket, message: unknown, onDrain: () => void = () => {}): boolean {
  if (socket.readyState !== socket.OPEN) return true
  let isBehind = false
  socket.send(JSON.stringify(message), () => {
    if (isBehind) onDrain()
  })
  isBehind = socket.bufferedAmount > MAX_WAITING_BYTES
  return !isBehind
}
