import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { CobError } from '../errors.ts'
import { endConnection, refuseConnection } from './client-error.ts'

/** Of what a client of a WebSocket sends at once. */
const MAX_MESSAGE_BYTES = 1024 * 1024
const STREAM = /^\/v1\/stream\/kernel\/[^/?#%]+\/(?:pty|events)\/?(?:\?|$)/

/** Whether a request asks for a WebSocket where there is one. Any other upgrade is no reason not to answer (RFC 9110, 7.8). */
export function isUpgrade({ method, url = '', headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket' && STREAM.test(url)
}

/**
 * Takes WebSockets, after every hook has let the request pass. What Node does for connections of requests it does not do for those of
 * upgrades: one that is refused is ended here, and so is one that is neither after `upgradeMs`.
 */
export function acceptWebSockets(app: FastifyInstance, upgradeMs: number): void {
  const undecided = new WeakMap<
    IncomingMessage,
    { readonly socket: Socket; readonly timer: NodeJS.Timeout }
  >()
  app.server.prependListener('upgrade', (request: IncomingMessage, socket: Socket) => {
    const timer = setTimeout(() => socket.destroy(), upgradeMs).unref()
    socket.once('close', () => clearTimeout(timer))
    undecided.set(request, { socket, timer })
  })
  app.addHook('onSend', async ({ raw }, reply) => {
    if (undecided.has(raw)) reply.header('connection', 'close')
  })
  app.addHook('onResponse', async ({ raw }) => {
    const refused = undecided.get(raw)
    if (refused) endConnection(refused.socket)
  })
  app.register(websocket, { options: { maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false } })
  app.after(() =>
    app.websocketServer
      .on('connection', (_socket, request: IncomingMessage) => {
        clearTimeout(undecided.get(request)?.timer)
        undecided.delete(request)
      })
      // What is wrong with the headers of RFC 6455.
      .on('wsClientError', ({ message }: Error, socket: Socket) =>
        refuseConnection(CobError.of('malformed-http', { problem: message }), socket),
      ),
  )
}
