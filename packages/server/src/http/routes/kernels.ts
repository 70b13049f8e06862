import { createKernelSchema, kernelCreatedSchema, kernelInfoSchema } from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Sessions } from '../../sessions/sessions.ts'
import { kernelNotFound, kernelParams, noBody, toKernelId } from '../kernel-id.ts'
import { problemResponse } from '../openapi.ts'

/** The contract's four operations on a kernel session, and the list (spec/kernel-management-v1.txt, spec/api.md). */
export async function kernelRoutes(
  app: FastifyInstance,
  { sessions }: { sessions: Sessions },
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()

  routes.post(
    '/v1/kernel/create',
    {
      config: { audit: 'session.create' },
      schema: {
        summary: 'Create a kernel session, or get the live one with the same token',
        body: createKernelSchema,
        response: {
          201: kernelCreatedSchema,
          403: problemResponse('The key may not use this kernel type'),
          406: problemResponse("The limits exceed the server's own"),
        },
      },
    },
    async (request, reply) => {
      const created = await sessions.create(request.owner, request.body, request.id)
      request.auditTarget = created.kernelId
      return reply.code(201).send(created)
    },
  )
  routes.get(
    '/v1/kernels',
    {
      schema: {
        summary: "The key's live kernels",
        response: { 200: z.object({ kernels: z.array(kernelInfoSchema) }) },
      },
    },
    async ({ owner }) => ({ kernels: await sessions.list(owner) }),
  )
  routes.get(
    '/v1/kernel/:id',
    {
      schema: {
        summary: 'Information about a kernel session',
        params: kernelParams,
        response: { 200: kernelInfoSchema, ...kernelNotFound },
      },
    },
    async ({ owner, params: { id } }) => sessions.info(owner, toKernelId(id)),
  )
  routes.delete(
    '/v1/kernel/:id',
    {
      config: { audit: 'session.end' },
      schema: {
        summary: 'Destroy a kernel session',
        params: kernelParams,
        body: noBody,
        response: { 204: z.null(), ...kernelNotFound },
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
      config: { audit: 'session.restart' },
      schema: {
        summary: 'Restart a kernel session',
        params: kernelParams,
        body: noBody,
        response: { 204: z.null(), ...kernelNotFound },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await sessions.restart(owner, toKernelId(id))
      return reply.code(204).send(null)
    },
  )
}
