import { randomUUID } from 'node:crypto'
import type { ServerOptions } from 'node:http'
import type { KeyRole } from '@cob/protocol'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Keys } from '../access/keys.ts'
import { CobError } from '../errors.ts'
import type { Langs } from '../langs/lang.ts'
import type { Logger } from '../observe/logger.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Tracing } from '../observe/tracing.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Store } from '../store/store.ts'
import { createAdmission } from './admission.ts'
import { keepAudit } from './audit.ts'
import { createBodies } from './bodies.ts'
import { acceptJsonBodies, parseBody } from './body.ts'
import { protectFromBrowsers } from './browser-protection.ts'
import type { CertificatePair } from './certificate.ts'
import { answerClientError } from './client-error.ts'
import { boundConnections, CONNECTION_BOUNDS, type ConnectionBounds } from './connections.ts'
import { allowOrigins } from './cors.ts'
import { createOtherMethods } from './method-not-allowed.ts'
import type { MetricsAccess } from './metrics-access.ts'
import { observeRequests } from './observed-requests.ts'
import { describeAll, describeRoute, openapi } from './openapi.ts'
import { createErrorHandler } from './problem.ts'
import { endRevoked } from './revocation.ts'
import { adminRoutes } from './routes/admin.ts'
import { authorizeRoutes } from './routes/authorize.ts'
import { executionRoutes } from './routes/executions.ts'
import { fileRoutes } from './routes/files.ts'
import { healthRoutes } from './routes/health.ts'
import { kernelRoutes } from './routes/kernels.ts'
import { langRoutes } from './routes/langs.ts'
import { streamRoutes } from './routes/streams.ts'
import { traceRequests } from './traced-requests.ts'
import { acceptWebSockets, isUpgrade } from './upgrades.ts'
import { takesFiles } from './upload.ts'
import { createValidator } from './validation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Access key of the caller; empty on public routes. */
    owner: string
    role: KeyRole
  }
  interface FastifyContextConfig {
    /** Needs no key. */
    isPublic?: boolean | ((request: FastifyRequest) => boolean)
    /** Its body is of any type and size. */
    takesFiles?: boolean
  }
}

export interface HttpServerOptions {
  readonly sessions: Sessions
  readonly langs: Langs
  readonly store: Store
  readonly metrics: Metrics
  readonly metricsAccess: MetricsAccess
  /** Pages of these may read answers; `https://app.example.org`. */
  readonly corsOrigins: readonly string[]
  /** Speaks https. A later one is given to `server.setSecureContext`. */
  readonly certificate?: CertificatePair | undefined
  readonly tracing?: Tracing | undefined
  readonly keys: Keys
  readonly logger: Logger
  readonly version: string
  readonly maxBodyBytes: number
  /** Requests in 15 minutes. */
  readonly rateLimit: { readonly perKey: number; readonly perAddress: number }
  readonly ready: () => boolean
  /** For tests, which cannot wait. */
  readonly bounds?: Partial<ConnectionBounds>
  /** ms since the epoch */
  readonly now?: () => number
}

/** As long as a path can be: an id of any length is told that it is none. */
const MAX_PARAM_LENGTH = 16_384
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,64}$/

/** The v1 API. Parses, asks `sessions`, formats; decides nothing about sessions. */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { logger, maxBodyBytes, metrics } = options
  const bounds = { ...CONNECTION_BOUNDS, ...options.bounds }
  const app = fastify({
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: MAX_PARAM_LENGTH },
    bodyLimit: maxBodyBytes,
    // Bounded below: how long files may take depends on their size.
    requestTimeout: 0,
    keepAliveTimeout: bounds.keepAliveMs,
    ...toProtocol(options.certificate, {
      headersTimeout: bounds.headersMs,
      connectionsCheckingInterval: bounds.checkEveryMs,
      // A missing Host is refused below, with a problem document.
      requireHostHeader: false,
      shouldUpgradeCallback: isUpgrade,
    }),
    forceCloseConnections: 'idle',
    // The sessions answer for a server that is shutting down, with a problem document.
    return503OnClosing: false,
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
    },
    clientErrorHandler: answerClientError,
    // Comes before any hook.
    frameworkErrors: (error, request, reply) => {
      greet(request, reply)
      admission.showAllowance(request, reply)
      answerError(error, request, reply)
    },
  })
  const answerError = createErrorHandler({ logger, maxBodyBytes, onProblem: metrics.http.refused })
  const admission = createAdmission({ now: Date.now, ...options })
  const greet = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.headers({ 'x-request-id': request.id, 'cache-control': 'no-store' })
    protectFromBrowsers(reply)
  }

  // A GET may carry a JSON body: clients of 2016 send one to /v1/authorize.
  app.addHttpMethod('GET', { hasBody: true, overrideExisting: true })
  const bodies = createBodies(app, maxBodyBytes)
  acceptJsonBodies(app, bodies)
  app.decorateRequest('owner', '')
  app.decorateRequest('role', 'user')
  app.setValidatorCompiler(createValidator)
  app.setSerializerCompiler(() => JSON.stringify)
  app.setErrorHandler(answerError)
  // For routes that find nothing themselves; a path without a route gets no further than the first hook.
  app.setNotFoundHandler(async (request) => {
    throw noSuchRoute(request)
  })

  if (options.tracing) traceRequests(app, options.tracing)
  app.addHook('onRequest', async (request, reply) => greet(request, reply))
  allowOrigins(app, options.corsOrigins)
  app.addHook('onRequest', async (request, reply) => {
    if (request.is404 || isPublic(request)) admission.countAddress(request, reply)
    else admission.admit(request, reply)
    if (request.is404) throw noSuchRoute(request)
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1')
      throw CobError.of('malformed-http', { problem: 'there is no Host header' })
  })
  boundConnections(app, bounds)
  app.addHook('preValidation', async (request, reply) => {
    if (request.owner === '' && !isPublic(request)) admission.admitSigned(request, reply)
    if (takesFiles(request)) return
    request.body = parseBody(request)
    bodies.release(request)
  })
  endRevoked(app, { isWelcome: admission.isWelcome, everyMs: bounds.pingMs, logger })
  app.addHook('onSend', async (request, reply, payload) => {
    admission.showAllowance(request, reply)
    // Signing clients of 2016 fail on an answer without these two, which a 204 need not have.
    if (reply.statusCode !== 204 || request.headers['x-sorna-version'] === undefined) return payload
    reply.headers({ 'content-type': 'application/json', 'content-length': '0' })
    return null
  })
  observeRequests(app, { metrics: metrics.http, logger })

  keepAudit(app, { now: Date.now, ...options })

  const otherMethods = createOtherMethods(app)
  app.register(swagger, {
    openapi: openapi(options.version),
    transform: describeRoute,
    transformObject: describeAll,
  })
  app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: true,
    // Browsers would fetch the page's parts by https, which this server does not speak.
    transformStaticCSP: (policy) => policy.replace(/\s*upgrade-insecure-requests;/, ''),
  })
  acceptWebSockets(app, bounds.requestMs)
  app.register(healthRoutes, options)
  app.register(authorizeRoutes, options)
  app.register(langRoutes, options)
  app.register(kernelRoutes, options)
  app.register(executionRoutes, { ...options, bounds })
  app.register(fileRoutes, { ...options, bodies })
  app.register(streamRoutes, { ...options, bounds, isWelcome: admission.isWelcome })
  app.register(adminRoutes, options)
  app.register(otherMethods)
  return app
}

function isPublic(request: FastifyRequest): boolean {
  const { config, url } = request.routeOptions
  if (typeof config.isPublic === 'function') return config.isPublic(request)
  return config.isPublic === true || url === '/docs' || url?.startsWith('/docs/') === true
}

/** Fastify's options of a server that speaks http or, with a certificate, https. */
function toProtocol(certificate: CertificatePair | undefined, http: ServerOptions): { http: ServerOptions } {
  if (!certificate) return { http }
  const https = { ...http, ...certificate, handshakeTimeout: http.headersTimeout }
  // Fastify's types tell the two servers apart; nothing here does.
  return { https } as unknown as { http: ServerOptions }
}

function noSuchRoute({ method, url }: FastifyRequest): CobError {
  return CobError.of('no-such-route', { method, path: url.slice(0, 200) })
}
