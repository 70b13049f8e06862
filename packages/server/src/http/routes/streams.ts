import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import { kernelNotFound, kernelParams, toKernelId } from '../kernel-id.ts'
import { problemResponse } from '../openapi.ts'
import { serveTerminal } from '../terminal-socket.ts'
import { GOING_AWAY, NORMAL, sendJson, type Watch, watchOver } from '../web-socket.ts'

/** Terminals, and what becomes of sessions, over WebSockets (spec/api.md, "Streams"). */
export async function streamRoutes(
  app: FastifyInstance,
  { sessions, ...watch }: Watch & { readonly sessions: Sessions },
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const common = (summary: string, description: string) => ({
    method: 'GET' as const,
    schema: {
      summary,
      description,
      params: kernelParams,
      response: {
        101: z.null().describe('A WebSocket'),
        426: problemResponse('It is no WebSocket'),
        ...kernelNotFound,
      },
    },
    // Before the upgrade: a client that cannot have it gets an answer it can read.
    preHandler: async (request: FastifyRequest): Promise<void> => {
      await sessions.info(request.owner, idOf(request))
    },
    handler: async ({ url }: FastifyRequest, reply: FastifyReply): Promise<never> => {
      // RFC 9110, 15.5.22.
      reply.header('upgrade', 'websocket')
      throw CobError.of('upgrade-required', { path: url.slice(0, 200) })
    },
  })

  routes.route({
    url: '/v1/stream/kernel/:id/pty',
    ...common(
      'A terminal in the session',
      'Client: `{type: stdin, chars}` (base64), `{type: resize, rows, cols}`, `{type: ping}`, `{type: restart}`. Server: `{type: out, data}` (base64), `{type: error, data}`.',
    ),
    wsHandler: async (socket, request) => {
      const { owner } = request
      const id = idOf(request)
      watchOver(socket, owner, watch)
      serveTerminal(socket, {
        open: (size) => sessions.openTerminal(owner, id, size),
        restart: () => sessions.restart(owner, id),
        touch: () => sessions.touch(owner, id),
      })
    },
  })
  routes.route({
    url: '/v1/stream/kernel/:id/events',
    ...common(
      'What becomes of the session',
      'Server: `{name, reason?}` with `started`, `restarted`, `terminated` and `resource-warning` (`memory`, `cpu-credit`).',
    ),
    wsHandler: async (socket, request) => {
      watchOver(socket, request.owner, watch)
      const touch = (): void => {
        try {
          sessions.touch(request.owner, idOf(request))
        } catch {
          // It has just ended; the client will be told.
        }
      }
      socket.on('ping', touch).on('message', touch)
      try {
        const stop = sessions.watch(request.owner, idOf(request), (event) => {
          // A client far behind has more than it reads already.
          if (!sendJson(socket, event)) socket.terminate()
          if (event.name === 'terminated') socket.close(NORMAL, event.reason)
        })
        socket.once('close', stop)
      } catch (error) {
        socket.close(GOING_AWAY, error instanceof CobError ? error.message.slice(0, 100) : '')
      }
    },
  })
}

function idOf({ params }: FastifyRequest): string {
  return toKernelId(kernelParams.parse(params).id)
}
