import {
  createKernelSchema,
  kernelCreatedSchema,
  kernelInfoSchema,
  runCodeSchema,
  runResponseSchema,
} from '@cob/protocol'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import { kernelParams, toKernelId } from '../kernel-id.ts'
import { accepts, parseWaitS } from '../negotiation.ts'
import { problemResponse } from '../openapi.ts'

const nothing = z.strictObject({}).nullish()
const notFound = {
  404: problemResponse('There is no such kernel; `reason` and `terminatedAt` tell of one that has ended'),
}

/** The contract's four operations on a kernel session, running code, and the list (spec/kernel-management-v1.txt, spec/api.md). */
export async function kernelRoutes(
  app: FastifyInstance,
  { sessions }: { sessions: Sessions },
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/v1/kernel/create',
    {
      schema: {
        summary: 'Create a kernel session, or get the live one with the same token',
        body: createKernelSchema,
        response: {
          201: kernelCreatedSchema,
          406: problemResponse("The limits exceed the server's own"),
        },
      },
    },
    async ({ owner, body }, reply) => reply.code(201).send(await sessions.create(owner, body)),
  )
  routes.get(
    '/v1/kernels',
    {
      schema: {
        summary: "The key's live kernels",
        response: { 200: z.object({ kernels: z.array(kernelInfoSchema) }) },
      },
    },
    async ({ owner }) => ({ kernels: sessions.list(owner) }),
  )
  routes.get(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Information about a kernel session',
        params: kernelParams,
        response: { 200: kernelInfoSchema, ...notFound },
      },
    },
    async ({ owner, params: { id } }) => sessions.info(owner, toKernelId(id)),
  )
  routes.delete(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Destroy a kernel session',
        params: kernelParams,
        body: nothing,
        response: { 204: z.null(), ...notFound },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await sessions.destroy(owner, toKernelId(id))
      return reply.code(204).send(null)
    },
  )
  routes.patch(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Restart a kernel session',
        params: kernelParams,
        body: nothing,
        response: { 204: z.null(), ...notFound },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await sessions.restart(owner, toKernelId(id))
      return reply.code(204).send(null)
    },
  )
  routes.post(
    '/v1/kernel/:id/interrupt',
    {
      schema: {
        summary: 'Interrupt the running code; variables stay',
        params: kernelParams,
        body: nothing,
        response: { 204: z.null(), ...notFound, 409: problemResponse('Nothing runs') },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await sessions.interrupt(owner, toKernelId(id))
      return reply.code(204).send(null)
    },
  )
  routes.post(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Run code, supply input, or fetch the next part of an execution',
        description: 'With `Prefer: wait=N` an execution still running after N seconds answers `continued`.',
        params: kernelParams,
        body: runCodeSchema,
        response: { 200: runResponseSchema, ...notFound },
      },
    },
    async ({ owner, params: { id }, body, headers }, reply) => {
      if (!accepts(headers.accept, 'application/json')) {
        throw CobError.of('not-acceptable-type', { accept: headers.accept ?? '' })
      }
      const waitS = parseWaitS(headers.prefer)
      const waitMs = waitS === undefined ? undefined : waitS * 1000
      const closed = closing(reply)
      const signal = goneSignal(reply, closed)
      try {
        const result = await sessions.run(owner, toKernelId(id), body, { waitMs, signal, sent: closed })
        if (waitS !== undefined) reply.header('preference-applied', `wait=${waitS}`)
        return { result }
      } catch (error) {
        // Nobody is there to read an answer; the execution goes on.
        if (signal.aborted) return reply.hijack()
        throw error
      }
    },
  )
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
