import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { CobError } from '../../errors.ts'
import type { FilePath, Files, OpenFile, OpenFolder } from '../../sessions/files.ts'
import type { Sessions } from '../../sessions/sessions.ts'
import type { Bodies } from '../bodies.ts'
import { FILE_POLICY } from '../browser-protection.ts'
import { filePathOf, toFilePath } from '../file-path.ts'
import { kernelParams, toKernelId } from '../kernel-id.ts'
import { negotiate } from '../negotiation.ts'
import { FILE_BODY, problemResponse } from '../openapi.ts'
import { parseRange } from '../range.ts'
import { acceptFileBodies, bytesOf, fileBody, filesOf } from '../upload.ts'

const TAR = 'application/x-tar'
const BYTES = 'application/octet-stream'
const bytes = z.string().meta({ format: 'binary' })
const params = kernelParams.extend({ '*': z.string().optional().describe('The path of a file') })
const listing = z.object({
  path: z.string(),
  entries: z.array(
    z.object({
      name: z
        .string()
        .describe(
          'A name that is not UTF-8 has a lone surrogate for each such byte; only the archive of its folder has that file',
        ),
      type: z.string().describe('file, folder, link, fifo, socket or device'),
      size: z.int().describe('bytes'),
      modified: z.int().describe('ms since the epoch'),
    }),
  ),
  truncated: z.boolean().describe('there are more'),
})
const written = z.object({ path: z.string(), size: z.int().describe('bytes') })
const refusals = {
  403: problemResponse('A link, a FIFO, a device, or something that may not be read'),
  404: problemResponse('There is no such kernel, or no such file'),
}

/** The files of a session (spec/api.md, "Files"). Everything streams, both ways. */
export async function fileRoutes(
  app: FastifyInstance,
  { sessions, bodies }: { sessions: Sessions; bodies: Bodies },
): Promise<void> {
  acceptFileBodies(app, bodies)
  const routes = app.withTypeProvider<ZodTypeProvider>()
  const filesFor = ({ owner }: FastifyRequest, id: string): Files => sessions.files(owner, toKernelId(id))

  for (const url of ['/v1/kernel/:id/files', '/v1/kernel/:id/files/*']) {
    routes.get(
      url,
      {
        schema: {
          summary: 'Read a file, or list a folder',
          description:
            '`Range` gives a part of a file. With `Accept: application/x-tar` a folder comes as an archive.',
          params,
          response: {
            200: {
              description: 'The file, or what the folder holds',
              content: {
                [BYTES]: { schema: bytes },
                'application/json': { schema: listing },
                [TAR]: { schema: bytes },
              },
            },
            206: { description: 'A part of the file', content: { [BYTES]: { schema: bytes } } },
            416: problemResponse('The file has no such part'),
            ...refusals,
          },
        },
      },
      async (request, reply) => {
        const path = filePathOf(request.params)
        const opened = await filesFor(request, request.params.id).open(path)
        try {
          return opened.kind === 'file'
            ? sendFile(request, reply, path, opened)
            : await sendFolder(request, reply, path, opened)
        } catch (error) {
          opened.close()
          throw error
        }
      },
    )
  }
  routes.put(
    '/v1/kernel/:id/files/*',
    {
      config: { takesFiles: true },
      schema: {
        summary: 'Write a file; folders on the way are made',
        description: 'The body is the content, of any type. The file appears when all of it is there.',
        [FILE_BODY]: { [BYTES]: { schema: { type: 'string', format: 'binary' } } },
        params,
        response: {
          200: written,
          201: written,
          507: problemResponse('It does not fit; `freeBytes` would'),
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const path = filePathOf(request.params)
      const announced = Number(request.headers['content-length'] ?? 0)
      const files = filesFor(request, request.params.id)
      const { created, size } = await unlessGone(request, reply, () =>
        files.write(path, bytesOf(fileBody(request)), announced),
      )
      return reply.code(created ? 201 : 200).send({ path: path.join('/'), size })
    },
  )
  routes.delete(
    '/v1/kernel/:id/files/*',
    {
      schema: {
        summary: 'Remove a file, or a folder with all that is in it',
        params,
        response: { 204: z.null(), ...refusals },
      },
    },
    async (request, reply) => {
      await filesFor(request, request.params.id).remove(filePathOf(request.params))
      return reply.code(204).send(null)
    },
  )
  routes.post(
    '/v1/kernel/:id/upload',
    {
      config: { takesFiles: true },
      schema: {
        summary: 'Write many files',
        description:
          'Each part has a `filename`, which may name folders. What came before a file that is refused stays: the problem lists it as `files`.',
        [FILE_BODY]: {
          'multipart/form-data': {
            schema: { type: 'object', additionalProperties: { type: 'string', format: 'binary' } },
          },
        },
        params: kernelParams,
        response: {
          201: z.object({ files: z.array(written) }),
          507: problemResponse('One does not fit; `freeBytes` would'),
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const files = filesFor(request, request.params.id)
      const done: z.infer<typeof written>[] = []
      try {
        await unlessGone(request, reply, async () => {
          for await (const { filename, content } of filesOf(
            fileBody(request),
            request.headers['content-type'],
          )) {
            const path = toFilePath(filename)
            const { size } = await files.write(path, content)
            done.push({ path: path.join('/'), size })
          }
        })
      } catch (error) {
        throw error instanceof CobError ? error.with({ files: done }) : error
      }
      return reply.code(201).send({ files: done })
    },
  )
}

function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  path: FilePath,
  file: OpenFile,
): FastifyReply {
  const etag = `"${file.tag}"`
  reply.headers({
    etag,
    'last-modified': new Date(file.modified).toUTCString(),
    'accept-ranges': 'bytes',
    'content-type': BYTES,
    // Whatever a session wrote must not become a page of this server's.
    'content-security-policy': FILE_POLICY,
    'content-disposition': `attachment; filename*=UTF-8''${encodeName(path.at(-1) ?? 'file')}`,
  })
  if (listsTag(request.headers['if-none-match'], etag)) {
    file.close()
    return reply.code(304).send()
  }
  const condition = request.headers['if-range']
  const range =
    condition === undefined || condition === etag ? parseRange(request.headers.range, file.size) : undefined
  if (range === 'unsatisfiable') {
    reply.header('content-range', `bytes */${file.size}`)
    const params = { range: request.headers.range ?? '', path: path.join('/'), size: file.size }
    throw CobError.of('range-not-satisfiable', params)
  }
  const { offset, length } = range ?? { offset: 0, length: file.size }
  if (range) {
    reply.code(206).header('content-range', `bytes ${offset}-${offset + length - 1}/${file.size}`)
  }
  reply.header('content-length', length)
  if (request.method !== 'HEAD' && length > 0) return reply.send(file.read(offset, length))
  file.close()
  return reply.send(Readable.from([]))
}

async function sendFolder(
  request: FastifyRequest,
  reply: FastifyReply,
  path: FilePath,
  folder: OpenFolder,
): Promise<FastifyReply> {
  const { accept } = request.headers
  if (negotiate(accept, ['application/json', TAR]) === 'application/json') {
    const listed = await folder.list()
    return reply.send({ path: path.join('/'), ...listed })
  }
  const name = encodeName(path.at(-1) ?? 'work')
  reply.headers({
    'content-type': TAR,
    'content-security-policy': FILE_POLICY,
    'content-disposition': `attachment; filename*=UTF-8''${name}.tar`,
  })
  if (request.method !== 'HEAD') return reply.send(folder.archive())
  folder.close()
  return reply.send(Readable.from([]))
}

/** RFC 8187, 3.2. */
function encodeName(name: string): string {
  return encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function listsTag(header: string | undefined, etag: string): boolean {
  return (header ?? '')
    .split(',')
    .some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*')
}

/** Nobody is there to be told what a broken connection kept from arriving. */
async function unlessGone<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (request.raw.destroyed && !request.raw.complete) reply.hijack()
    throw error
  }
}
