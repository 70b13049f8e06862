import {
  completionSchema,
  executionEventSchema,
  inspectionSchema,
  questionSchema,
  runCodeSchema,
  runResponseSchema,
  runResultSchema,
  supplyInputSchema,
} from '@cob/protocol'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'
import type { EventSource, Sessions } from '../../sessions/sessions.ts'
import type { ConnectionBounds } from '../connections.ts'
import { EVENT_TYPES, type EventType, isRead, toEventStream } from '../event-stream.ts'
import { kernelNotFound, kernelParams, noBody, toKernelId } from '../kernel-id.ts'
import { negotiate, parseWaitS } from '../negotiation.ts'
import { problemResponse } from '../openapi.ts'

const JSON_TYPE = 'application/json'
const executionParams = kernelParams.extend({
  executionId: z.string().max(64).describe('As the answer to the code names it, or its codeId'),
})
const EVENTS = Object.fromEntries(EVENT_TYPES.map((type) => [type, { schema: executionEventSchema }]))

interface ExecutionRoutesOptions {
  readonly sessions: Sessions
  readonly bounds: Pick<ConnectionBounds, 'heartbeatMs'>
}

/** Running code, and all that concerns code that runs (spec/api.md, "Running code"). */
export async function executionRoutes(
  app: FastifyInstance,
  { sessions, bounds }: ExecutionRoutesOptions,
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const sendEvents = (reply: FastifyReply, type: EventType, source: EventSource): FastifyReply => {
    reply.headers({
      'content-type': type === 'text/event-stream' ? `${type}; charset=utf-8` : type,
      'x-execution-id': source.executionId,
      // Proxies that gather answers before they pass them on would gather all of it.
      'x-accel-buffering': 'no',
    })
    reply.raw.once('pipe', () => reply.raw.flushHeaders())
    return reply.send(toEventStream(source, type, bounds.heartbeatMs))
  }

  routes.post(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Run code, supply input, or fetch the next part of an execution',
        description:
          'With `Prefer: wait=N` an execution still running after N seconds answers `continued`. As a stream the answer is the events as they happen; `X-Execution-Id` names the execution.',
        params: kernelParams,
        body: runCodeSchema,
        response: {
          200: {
            description: 'The result, or the events',
            content: { [JSON_TYPE]: { schema: runResponseSchema }, ...EVENTS },
          },
          ...kernelNotFound,
        },
      },
    },
    async ({ owner, params: { id }, body, headers }, reply) => {
      const type = negotiate(headers.accept, [JSON_TYPE, ...EVENT_TYPES])
      if (type !== JSON_TYPE) return sendEvents(reply, type, sessions.follow(owner, toKernelId(id), body))
      const waitS = parseWaitS(headers.prefer)
      const waitMs = waitS === undefined ? undefined : waitS * 1000
      const closed = closing(reply)
      const signal = goneSignal(reply, closed)
      try {
        const result = await sessions.run(owner, toKernelId(id), body, { waitMs, signal, sent: closed })
        if (waitS !== undefined) reply.header('preference-applied', `wait=${waitS}`)
        return reply.send({ result })
      } catch (error) {
        // Nobody is there to read an answer; the execution goes on.
        if (signal.aborted) return reply.hijack()
        throw error
      }
    },
  )
  routes.get(
    '/v1/kernel/:id/executions/:executionId',
    {
      schema: {
        summary: 'State and output so far of one of the last executions',
        description: 'Takes nothing away from other answers. `truncated`: what came first is not kept.',
        params: executionParams,
        response: { 200: z.object({ result: runResultSchema }), ...kernelNotFound },
      },
    },
    async ({ owner, params: { id, executionId } }) => ({
      result: sessions.execution(owner, toKernelId(id), executionId),
    }),
  )
  routes.get(
    '/v1/kernel/:id/executions/:executionId/events',
    {
      schema: {
        summary: 'The events of an execution, those after `Last-Event-ID`',
        params: executionParams,
        querystring: z.object({
          lastEventId: z
            .string()
            .optional()
            .describe('For clients that cannot send the header `Last-Event-ID`'),
        }),
        response: {
          200: { description: 'The events, until it has finished', content: EVENTS },
          204: z.null().describe('As `text/event-stream`: it has finished, and `Last-Event-ID` was its last'),
          410: problemResponse('They are not kept any more; `firstId` is the first there is'),
          ...kernelNotFound,
        },
      },
    },
    async ({ owner, params: { id, executionId }, query, headers }, reply) => {
      const type = negotiate(headers.accept, EVENT_TYPES)
      const after = parseEventId(headers['last-event-id'] ?? query.lastEventId)
      const source = sessions.events(owner, toKernelId(id), executionId, after)
      // An EventSource comes back for ever unless it is told that there is no more (HTML, 9.2).
      if (type === 'text/event-stream' && after !== undefined && after > 0 && isRead(source))
        return reply.code(204).send(null)
      return sendEvents(reply, type, source)
    },
  )
  for (const [url, params] of [
    ['/v1/kernel/:id', kernelParams],
    ['/v1/kernel/:id/executions/:executionId', executionParams],
  ] as const) {
    const executionOf = (given: z.infer<typeof kernelParams> & { executionId?: string }) => given.executionId
    routes.post(
      `${url}/interrupt`,
      {
        schema: {
          summary: 'Interrupt the running code; variables stay',
          description:
            'Code that ignores it is interrupted again, and after 5 s its interpreter is restarted.',
          params,
          body: noBody,
          response: { 204: z.null(), ...kernelNotFound, 409: problemResponse('It does not run') },
        },
      },
      async ({ owner, params: given }, reply) => {
        await sessions.interrupt(owner, toKernelId(given.id), executionOf(given))
        return reply.code(204).send(null)
      },
    )
    routes.post(
      `${url}/input`,
      {
        schema: {
          summary: 'Supply what the running code asks for',
          params,
          body: supplyInputSchema,
          response: { 204: z.null(), ...kernelNotFound, 409: problemResponse('It does not wait for input') },
        },
      },
      async ({ owner, params: given, body: { text } }, reply) => {
        sessions.input(owner, toKernelId(given.id), text, executionOf(given))
        return reply.code(204).send(null)
      },
    )
  }
  const busy = { 409: problemResponse('Something runs') }
  routes.post(
    '/v1/kernel/:id/complete',
    {
      schema: {
        summary: 'What could stand at the cursor',
        params: kernelParams,
        body: questionSchema,
        response: { 200: completionSchema, ...kernelNotFound, ...busy },
      },
    },
    async ({ owner, params: { id }, body }) => sessions.complete(owner, toKernelId(id), body),
  )
  routes.post(
    '/v1/kernel/:id/inspect',
    {
      schema: {
        summary: 'What is known of the object at the cursor',
        params: kernelParams,
        body: questionSchema,
        response: { 200: inspectionSchema, ...kernelNotFound, ...busy },
      },
    },
    async ({ owner, params: { id }, body }) => sessions.inspect(owner, toKernelId(id), body),
  )
}

function parseEventId(given: string | string[] | undefined): number | undefined {
  if (given === undefined || given === '') return undefined
  if (typeof given === 'string' && /^\d{1,15}$/.test(given)) return Number(given)
  throw CobError.of('invalid-request', {
    problem: `Last-Event-ID is "${String(given).slice(0, 40)}"; send the \`id\` of an event, a number from 1.`,
  })
}

/** Resolves when the answer has left this process, or its client is gone. */
function closing({ raw }: FastifyReply): Promise<void> {
  // Who went away while the request was read is not told of again.
  return new Promise((resolve) => (raw.closed ? resolve() : raw.once('close', resolve)))
}

/** Aborts when the client goes away before it has its answer. */
function goneSignal(reply: FastifyReply, closed: Promise<void>): AbortSignal {
  const gone = new AbortController()
  void closed.then(() => {
    if (!reply.raw.writableFinished) gone.abort(new Error('the client went away'))
  })
  return gone.signal
}
