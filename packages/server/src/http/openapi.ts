import { STATUS_CODES } from 'node:http'
import { problemSchema } from '@cob/protocol'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'

/** Stands once in the document, under this name. */
const problem = problemSchema.meta({ id: 'Problem' })

/** An error in a route's `response` schemas, in the media type errors come in (RFC 9457). */
export function problemResponse(description: string) {
  return { description, content: { 'application/problem+json': { schema: problem } } }
}

/** Of every route in `/v1/admin`. */
export const adminOnly = { 403: problemResponse('The key has not the role admin') }

/** Why any request may be refused; what a route says itself comes first. */
const ANYWHERE = {
  '4XX': problemResponse('The request cannot be answered; `code` and `detail` say why'),
  '5XX': problemResponse('The server cannot answer at this time; `Retry-After` may say when it can'),
}
const WITH_KEY = {
  401: problemResponse('No key, or one that is not valid'),
  429: problemResponse('Over the rate limit or a quota; `Retry-After` may say how long to wait'),
}

/** A route as the document shows it: with the refusals every route shares, and a name for every status. */
export const describeRoute: typeof jsonSchemaTransform = (document) => {
  const { schema } = document
  if (!schema || schema.hide) return jsonSchemaTransform(document)
  const isOpen = schema.security?.length === 0
  // The routes' responses are zod's schemas or `problemResponse`s, by status; Fastify's type leaves that open.
  const own = schema.response as Record<string, unknown>
  const described = jsonSchemaTransform({
    ...document,
    schema: { ...schema, response: { ...own, ...(isOpen ? {} : WITH_KEY), ...ANYWHERE } },
  })
  // As above, now as JSON Schema.
  const responses = described.schema.response as Record<string, Record<string, unknown>>
  for (const [status, response] of Object.entries(responses))
    response['x-response-description'] = response.description ?? STATUS_CODES[status] ?? status
  // The rest of a path has no name in routes.
  return { ...described, url: described.url.replace(/\*$/, ':path') }
}

/** What a route takes as a stream is told in its schema under this name: as `content` of the operation's `requestBody`. */
export const FILE_BODY = 'x-file-body'

const NULL = JSON.stringify({ type: 'null' })

/** The whole document: a body that may be null may as well be missing, which the generator cannot know. */
export const describeAll: typeof jsonSchemaTransformObject = (document) => {
  const described = jsonSchemaTransformObject(document)
  for (const path of Object.values(described.paths ?? {})) {
    for (const operation of [path?.get, path?.put, path?.delete]) {
      for (const parameter of operation?.parameters ?? [])
        if ('name' in parameter && parameter.name === '*') parameter.name = 'path'
    }
    for (const operation of [path?.put, path?.post]) {
      if (!operation || !(FILE_BODY in operation)) continue
      Object.assign(operation, { requestBody: { required: true, content: operation[FILE_BODY] } })
      delete operation[FILE_BODY]
    }
  }
  for (const path of Object.values(described.paths ?? {})) {
    for (const operation of [path?.delete, path?.patch, path?.post]) {
      const body = operation?.requestBody
      if (!operation || !body || !('content' in body)) continue
      const schema = body.content['application/json']?.schema
      const isNullable = schema && 'anyOf' in schema && JSON.stringify(schema.anyOf?.at(-1)) === NULL
      if (isNullable) operation.requestBody = { ...body, required: false }
    }
  }
  return described
}

/** What the generated document says besides its routes. */
export function openapi(version: string) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Cob',
      version,
      description:
        'Kernel sessions: isolated, stateful interpreters. Times in ms, memory in KB. Errors are problem documents (RFC 9457).',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    components: {
      securitySchemes: {
        bearer: { type: 'http' as const, scheme: 'bearer', description: '<accessKey>:<secretKey>' },
        signature: {
          type: 'apiKey' as const,
          in: 'header' as const,
          name: 'Authorization',
          description:
            'Sorna signMethod=HMAC-SHA256, credential=<accessKey>:<hex signature>, with Date and X-Sorna-Version',
        },
      },
    },
    security: [{ bearer: [] }, { signature: [] }],
  }
}
