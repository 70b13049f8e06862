import { Readable } from 'node:stream'
import { Busboy, type BusboyInstance } from '@fastify/busboy'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import type { Bodies } from './bodies.ts'

const MAX_FILES = 10_000
const MAX_FIELDS = 100
const MAX_FIELD_BYTES = 65_536

/** Takes bodies of any type as streams; only of a signed request, whose signature is over all of it, the bytes are gathered first. */
export function acceptFileBodies(app: FastifyInstance, { gather }: Bodies): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: Readable) =>
    request.owner === '' ? gather(request, payload) : payload,
  )
}

/** The body of a request on a route of {@link acceptFileBodies}. */
export function fileBody({ body }: FastifyRequest): Readable {
  if (body instanceof Readable) return body
  return Readable.from(Buffer.isBuffer(body) ? [body] : [])
}

/** The bytes of a body. Of one that is refused half-way the rest is read and forgotten, so that the answer reaches who still sends. */
export async function* bytesOf(body: Readable): AsyncGenerator<Buffer> {
  try {
    yield* body.iterator({ destroyOnReturn: false })
  } finally {
    body.resume()
  }
}

/** A part of a multipart body. */
export interface UploadedFile {
  readonly filename: string
  /** To be read to its end before the next part comes. Fails where the body ends within it. */
  readonly content: AsyncIterable<Buffer>
}

/** The files of a multipart/form-data body (RFC 7578), one after the other as they come. Throws `malformed-upload`. */
export async function* filesOf(
  body: Readable,
  contentType: string | undefined,
): AsyncGenerator<UploadedFile> {
  if (!/^multipart\/form-data\s*;/i.test(contentType ?? ''))
    throw CobError.of('unsupported-upload', { type: contentType ?? 'missing' })
  const parts: { readonly filename: string; readonly content: Readable }[] = []
  let wake = Promise.withResolvers<void>()
  let isDone = false
  let failure: Error | undefined
  const fail = (error: unknown): void => {
    failure ??=
      error instanceof CobError
        ? error
        : CobError.of('malformed-upload', { problem: error instanceof Error ? error.message : String(error) })
    wake.resolve()
  }
  const parser = createParser(contentType ?? '')
  parser.on('file', (field, content, filename) => {
    content.on('error', fail)
    if (filename === undefined) fail(new Error(`the part "${field.slice(0, 80)}" has no filename`))
    parts.push({ filename, content })
    wake.resolve()
  })
  parser.on('field', (name) => fail(new Error(`the part "${String(name).slice(0, 80)}" has no filename`)))
  for (const limit of ['filesLimit', 'fieldsLimit', 'partsLimit'] as const)
    parser.on(limit, () =>
      fail(new Error(`there are more than ${MAX_FILES} files or ${MAX_FIELDS} other parts`)),
    )
  parser.on('error', fail)
  parser.once('finish', () => {
    isDone = true
    wake.resolve()
  })
  body.on('error', fail)
  body.once('aborted', () => fail(new Error('the connection broke')))
  // Not by `pipe`: small parts fit the parser's buffers, however many there are. So no more comes while one waits.
  let isParsed = true
  const goOn = (): void => {
    if (isParsed && parts.length === 0) body.resume()
  }
  const parse = (chunk: Buffer): void => {
    body.pause()
    isParsed = false
    parser.write(chunk, () => {
      isParsed = true
      goOn()
    })
  }
  const end = (): void => void parser.end()
  body.on('data', parse).once('end', end)
  /** Waits for the next part, or the end. */
  const settled = async (): Promise<void> => {
    while (!failure && parts.length === 0 && !isDone) {
      await wake.promise
      wake = Promise.withResolvers<void>()
    }
    if (failure) throw failure
  }
  const wholePart = async function* (content: Readable): AsyncGenerator<Buffer> {
    yield* content
    // Only what follows a part tells that it was whole.
    await settled()
  }
  try {
    for (;;) {
      await settled()
      const next = parts.shift()
      if (!next) return
      goOn()
      yield { filename: next.filename, content: wholePart(next.content) }
    }
  } finally {
    body.off('data', parse).off('end', end)
    // The rest is read and forgotten, so that the answer reaches who still sends.
    body.resume()
    parser.destroy()
    for (const { content } of parts) content.resume()
  }
}

function createParser(contentType: string): BusboyInstance {
  try {
    return new Busboy({
      headers: { 'content-type': contentType },
      preservePath: true,
      limits: { files: MAX_FILES, fields: MAX_FIELDS, fieldSize: MAX_FIELD_BYTES },
    })
  } catch (error) {
    throw CobError.of('malformed-upload', { problem: error instanceof Error ? error.message : String(error) })
  }
}

export function takesFiles({ routeOptions: { config } }: FastifyRequest): boolean {
  return config.takesFiles === true
}
