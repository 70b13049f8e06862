import {
  changeKeySchema,
  createKeySchema,
  keyInfoSchema,
  keyInUseSchema,
  keyWithSecretSchema,
  rotateKeySchema,
} from '@cob/protocol'
import type { FastifyInstance } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Keys } from '../../access/keys.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import { noBody } from '../kernel-id.ts'
import { adminOnly, problemResponse } from '../openapi.ts'

const params = z.object({ accessKey: z.string().describe('The access key') })
const notFound = { ...adminOnly, 404: problemResponse('There is no such key') }
const lastAdmin = { 409: problemResponse('It is the only valid key with the role admin') }
const keyWithUseSchema = keyInfoSchema.extend({ inUse: keyInUseSchema })

/** The keys of this server. */
export async function adminKeyRoutes(
  app: FastifyInstance,
  { keys, sessions }: { keys: Keys; sessions: Sessions },
): Promise<void> {
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const inUse = (accessKey: string): z.infer<typeof keyInUseSchema> => {
    const { kernels, memoryKb, cpuMsToday } = sessions.inUse(accessKey)
    return { kernels, memoryKb, cpuMsToday: Math.round(cpuMsToday) }
  }

  routes.get(
    '/v1/admin/keys',
    {
      schema: {
        summary: 'All keys, without their secrets',
        response: { 200: z.object({ keys: z.array(keyInfoSchema) }), ...adminOnly },
      },
    },
    async () => ({ keys: keys.list() }),
  )
  routes.post(
    '/v1/admin/keys',
    {
      config: { audit: 'key.create' },
      schema: {
        summary: 'Make a key; its secret is told only here',
        body: createKeySchema,
        response: { 201: keyWithSecretSchema, ...adminOnly },
      },
    },
    async (request, reply) => {
      const created = keys.create(request.body)
      request.auditTarget = created.accessKey
      return reply.code(201).send(created)
    },
  )
  routes.get(
    '/v1/admin/keys/:accessKey',
    { schema: { summary: 'One key', params, response: { 200: keyWithUseSchema, ...notFound } } },
    async ({ params: { accessKey } }) => ({ ...keys.find(accessKey), inUse: inUse(accessKey) }),
  )
  routes.patch(
    '/v1/admin/keys/:accessKey',
    {
      config: { audit: 'key.change' },
      schema: {
        summary: 'Change the name, role, expiry or limits of a key',
        params,
        body: changeKeySchema,
        response: { 200: keyInfoSchema, ...notFound, ...lastAdmin },
      },
    },
    async ({ params: { accessKey }, body }) => keys.change(accessKey, body),
  )
  routes.post(
    '/v1/admin/keys/:accessKey/disable',
    {
      config: { audit: 'key.disable' },
      schema: {
        summary: 'Refuse a key from now on; its sessions stay until they idle out',
        params,
        body: noBody,
        response: { 200: keyInfoSchema, ...notFound, ...lastAdmin },
      },
    },
    async ({ params: { accessKey } }) => keys.disable(accessKey),
  )
  routes.post(
    '/v1/admin/keys/:accessKey/enable',
    {
      config: { audit: 'key.enable' },
      schema: {
        summary: 'Take a disabled key again',
        params,
        body: noBody,
        response: { 200: keyInfoSchema, ...notFound },
      },
    },
    async ({ params: { accessKey } }) => keys.enable(accessKey),
  )
  routes.post(
    '/v1/admin/keys/:accessKey/rotate',
    {
      config: { audit: 'key.rotate' },
      schema: {
        summary: 'Give a key a new secret, told only here; the old one stays valid for a while',
        params,
        body: rotateKeySchema,
        response: { 200: keyWithSecretSchema, ...notFound },
      },
    },
    async ({ params: { accessKey }, body }) => keys.rotate(accessKey, body?.overlapMs),
  )
}
