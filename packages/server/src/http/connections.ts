import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { CobError } from '../errors.ts'
import { endConnection, refuseConnection } from './client-error.ts'

/** What clients may make this server hold, however slowly they send or read. */
export interface ConnectionBounds {
  /** Connections at once, of half as many as this process may have descriptors at most: sandboxes need some. One more is closed as it comes. */
  readonly maxConnections: number
  /** Requests of one connection that wait for their answers at once; only who pipelines has more than one. */
  readonly maxUnanswered: number
  /** ms until the headers are there, from the first byte of a request or, of a new connection, from its start. */
  readonly headersMs: number
  /**
   * ms until the whole request is there, or, where a route takes files of who has proved a key, until more of it is. What nobody reads of
   * a body is thrown away for as long.
   */
  readonly requestMs: number
  /**
   * ms until the client has taken the answer, or, of one that streams, some more of what waits for it; and until something of what a
   * client sent over a WebSocket has been taken.
   */
  readonly answerMs: number
  /** ms of silence in a stream of events until something is sent that means nothing. */
  readonly heartbeatMs: number
  /** ms between two looks whether the client of a WebSocket is there, and who is being answered still may be. */
  readonly pingMs: number
  /** ms a connection without a request is kept. */
  readonly keepAliveMs: number
  /** ms between two looks at who is late. */
  readonly checkEveryMs: number
}

export const CONNECTION_BOUNDS: ConnectionBounds = {
  maxConnections: 2048,
  maxUnanswered: 8,
  headersMs: 20_000,
  requestMs: 60_000,
  answerMs: 300_000,
  heartbeatMs: 15_000,
  pingMs: 30_000,
  keepAliveMs: 75_000,
  checkEveryMs: 5000,
}

/** Enforces those of the bounds that the HTTP server below does not know itself. */
export function boundConnections(app: FastifyInstance, bounds: ConnectionBounds): void {
  const { server } = app
  server.maxConnections = Math.min(bounds.maxConnections, Math.floor(maxDescriptors() / 2))
  // When all of this process has stood still, with its machine perhaps, what clients sent meanwhile is read after timers have been looked at.
  server.on('timeout', (socket) => {
    const { bytesRead } = socket
    setImmediate(() => {
      if (socket.bytesRead === bytesRead) socket.destroy()
    })
  })
  // An expectation that means nothing here is no reason to refuse (RFC 9110, 10.1.1).
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))

  const unanswered = new WeakMap<Socket, number>()
  const sockets = new Map<string, Socket>()
  let isClosing = false
  const keep = (socket: Socket): void => {
    if (isClosing) socket.destroy()
    const peer = `${socket.remoteAddress} ${socket.remotePort}`
    sockets.set(peer, socket)
    socket.once('close', () => {
      if (sockets.get(peer) === socket) sockets.delete(peer)
    })
  }
  server.on('connection', keep)
  // With TLS, what its requests come on takes the place of the connection below.
  server.on('secureConnection', keep)
  // Node closes those that idle at that moment; not those that have never sent a request, nor those that idle later.
  app.addHook('preClose', async () => {
    isClosing = true
    for (const socket of sockets.values()) if (!unanswered.get(socket)) socket.destroySoon()
  })
  app.addHook('onRequest', async ({ raw: { socket } }, reply) => {
    const count = (unanswered.get(socket) ?? 0) + 1
    unanswered.set(socket, count)
    reply.raw.once('close', () => {
      unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1)
      if (isClosing) socket.end()
    })
    if (count <= bounds.maxUnanswered) return
    // More than refused: answers that pile up would make Node stop reading, and then nobody would notice that the client has gone.
    refuseConnection(CobError.of('too-many-unanswered', { max: bounds.maxUnanswered }), socket)
    reply.hijack()
  })
  const takingFiles = new WeakSet<IncomingMessage>()
  // Before every hook, one of which may refuse the request.
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    let taken = socket.bytesRead
    const timer = setTimeout(() => {
      const isMore = socket.bytesRead > taken
      taken = socket.bytesRead
      if (request.complete) return
      if (isMore && takingFiles.has(request) && !response.writableEnded) timer.refresh()
      else refuseConnection(CobError.of('request-timeout', {}), socket)
    }, bounds.requestMs).unref()
    // Who asked for the connection to be closed is still sending what was refused, and would lose the answer if Node closed it now.
    response.prependListener('finish', () => {
      if (!request.complete && !response.shouldKeepAlive)
        // Later, as Node only now begins to read on what nobody will.
        socket.destroySoon = () => setImmediate(endConnection, socket, '', bounds.requestMs)
    })
    // An answered request closes although more of its body is to come.
    request.once('close', () => {
      if (request.complete) clearTimeout(timer)
    })
  })
  app.addHook('onRequest', async ({ raw, routeOptions, owner }) => {
    // Who has not proved a key yet has its body gathered.
    if (routeOptions.config.takesFiles && owner !== '') takingFiles.add(raw)
  })
  app.addHook('onSend', async ({ raw: { socket } }, reply, payload) => {
    // Closing while a refused body still comes would reset the connection, and the answer may be lost with that (RFC 9112, 9.6).
    const { raw } = reply
    if (raw.shouldKeepAlive && reply.hasHeader('connection')) reply.header('connection', 'keep-alive')
    const start = (): void => {
      let before = taken(socket)
      const timer = setTimeout(() => {
        const isMoving =
          payload instanceof Readable && (socket.writableLength === 0 || taken(socket) > before)
        before = taken(socket)
        if (isMoving) timer.refresh()
        else socket.destroy()
      }, bounds.answerMs).unref()
      raw.once('close', () => clearTimeout(timer))
    }
    whenItsTurn(raw, start)
  })
}

/** Bytes that the other side's, or this, kernel has taken. */
function taken(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength
}

/** An answer behind others of its connection has no socket yet. */
function whenItsTurn(response: ServerResponse, act: () => void): void {
  if (response.socket) act()
  else response.once('socket', act)
}

/** This process may have so many (proc_pid_limits(5)); Node has raised the soft limit to the hard one. */
function maxDescriptors(): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}
