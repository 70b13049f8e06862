import type { WebSocket } from 'ws'

/** RFC 6455, 7.4.1. */
export const NORMAL = 1000
export const GOING_AWAY = 1001
/** ms between two looks whether the client is there. */
const PING_MS = 30_000
/** Bytes that may wait for a client before nothing more is sent. */
const MAX_WAITING_BYTES = 1024 * 1024

/** Ends a connection whose client does not answer pings. */
export function watchOver(socket: WebSocket): void {
  let isThere = true
  socket.on('pong', () => {
    isThere = true
  })
  const timer = setInterval(() => {
    if (!isThere) socket.terminate()
    isThere = false
    socket.ping()
  }, PING_MS)
  socket.once('close', () => clearInterval(timer))
  // What broke the connection is of no interest to anybody who is left.
  socket.on('error', () => {})
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
