import { randomUUID } from 'node:crypto'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import { CobError } from '../errors.ts'
import type { Langs } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Store } from '../store/store.ts'
import { createAuthentication } from './authentication.ts'
import { acceptJsonBodies, parseBody, rawBody } from './body.ts'
import { createOtherMethods } from './method-not-allowed.ts'
import { openapi } from './openapi.ts'
import { answerClientError, createErrorHandler } from './problem.ts'
import { type Allowance, createRateLimiter } from './rate-limit.ts'
import { authorizeRoutes } from './routes/authorize.ts'
import { healthRoutes } from './routes/health.ts'
import { kernelRoutes } from './routes/kernels.ts'
import { langRoutes } from './routes/langs.ts'
import { createValidator } from './validation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Access key of the caller; empty on public routes. */
    owner: string
  }
  interface FastifyContextConfig {
    /** Needs no key. */
    isPublic?: boolean
  }
}

export interface HttpServerOptions {
  readonly sessions: Sessions
  readonly langs: Langs
  readonly store: Store
  readonly logger: Logger
  readonly version: string
  readonly maxBodyBytes: number
  /** Requests in 15 minutes. */
  readonly rateLimit: { readonly perKey: number; readonly perAddress: number }
  readonly ready: () => boolean
  /** ms since the epoch */
  readonly now?: () => number
}

const REQUEST_TIMEOUT_MS = 60_000
const HEADERS_TIMEOUT_MS = 20_000
const KEEP_ALIVE_MS = 75_000
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,64}$/

/** The v1 API. Parses, asks `sessions`, formats; decides nothing about sessions. */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { logger, now = Date.now } = options
  const app = fastify({
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 256 },
    bodyLimit: options.maxBodyBytes,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
    forceCloseConnections: 'idle',
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
    },
    clientErrorHandler: answerClientError,
    // Comes before any hook.
    frameworkErrors: (error, request, reply) => {
      greet(request, reply)
      answerError(error, request, reply)
    },
  })
  const answerError = createErrorHandler(logger, options.maxBodyBytes)
  const authentication = createAuthentication(options.store, now)
  const limiter = createRateLimiter(now)

  const showAllowance = (reply: FastifyReply, { limit, remaining, resetMs }: Allowance): void => {
    reply.headers({
      'x-ratelimit-limit': limit,
      'x-ratelimit-remaining': remaining,
      'x-ratelimit-reset': resetMs,
    })
  }
  const count = (reply: FastifyReply, who: string, limit: number): void => {
    const allowance = limiter.take(who, limit)
    showAllowance(reply, allowance)
    if (!allowance.exceeded) return
    const retryAfterS = Math.ceil(allowance.resetMs / 1000)
    throw CobError.of('rate-limited', { limit, retryAfter: retryAfterS }, { retryAfterS })
  }
  const greet = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.headers({ 'x-request-id': request.id, 'cache-control': 'no-store' })
  }
  const countAddress = (request: FastifyRequest, reply: FastifyReply): void =>
    count(reply, `address ${request.ip}`, options.rateLimit.perAddress)
  const identify = (request: FastifyRequest, reply: FastifyReply, prove: () => string | undefined): void => {
    let accessKey: string | undefined
    try {
      accessKey = prove()
    } catch (error) {
      countAddress(request, reply)
      reply.header('www-authenticate', 'Bearer realm="cob", Sorna signMethod="HMAC-SHA256"')
      throw error
    }
    if (accessKey === undefined) return
    count(reply, `key ${accessKey}`, options.rateLimit.perKey)
    request.owner = accessKey
  }

  // A GET may carry a JSON body: clients of 2016 send one to /v1/authorize.
  app.addHttpMethod('GET', { hasBody: true, overrideExisting: true })
  acceptJsonBodies(app)
  app.decorateRequest('owner', '')
  app.setValidatorCompiler(createValidator)
  app.setSerializerCompiler(() => JSON.stringify)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler(() => {})

  app.addHook('onRequest', async (request, reply) => {
    greet(request, reply)
    if (request.is404) {
      countAddress(request, reply)
      throw CobError.of('no-such-route', { method: request.method, path: request.url.slice(0, 200) })
    }
    if (needsKey(request)) identify(request, reply, () => authentication.bearer(request))
    else countAddress(request, reply)
  })
  app.addHook('preValidation', async (request, reply) => {
    const isSigned = needsKey(request) && request.owner === ''
    if (isSigned) identify(request, reply, () => authentication.signed(request, rawBody(request)))
    request.body = parseBody(request)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (!reply.hasHeader('x-ratelimit-limit')) {
      showAllowance(reply, limiter.take(`address ${request.ip}`, options.rateLimit.perAddress))
    }
    // Signing clients of 2016 fail on an answer without these two, which a 204 need not have.
    if (reply.statusCode !== 204 || request.headers['x-sorna-version'] === undefined) return payload
    reply.headers({ 'content-type': 'application/json', 'content-length': '0' })
    return null
  })
  app.addHook('onResponse', async (request, reply) => {
    logger.debug(
      {
        requestId: request.id,
        method: request.method,
        path: request.url,
        status: reply.statusCode,
        ms: reply.elapsedTime,
      },
      'Answered a request.',
    )
  })

  const otherMethods = createOtherMethods(app)
  app.register(swagger, { openapi: openapi(options.version), transform: jsonSchemaTransform })
  app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  app.register(healthRoutes, options)
  app.register(authorizeRoutes, options)
  app.register(langRoutes, options)
  app.register(kernelRoutes, options)
  app.register(otherMethods)
  return app
}

/** The pages of the API's documentation are a plugin's routes and carry no configuration of ours. */
function needsKey({ routeOptions: { config, url } }: FastifyRequest): boolean {
  return !config.isPublic && url?.startsWith('/docs') !== true
}
