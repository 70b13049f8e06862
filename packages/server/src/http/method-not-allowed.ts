import { METHODS } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { CobError } from '../errors.ts'

/** CONNECT never gets as far as a route. */
const OTHERS: readonly string[] = METHODS.filter((method) => method !== 'CONNECT')

/**
 * Answers the methods a path does not have with 405 and `Allow` (RFC 9110, 15.5.6), and OPTIONS with `Allow`. Call before any route
 * is registered; what is returned is a plugin to register after all of them.
 */
export function createOtherMethods(app: FastifyInstance): (scope: FastifyInstance) => Promise<void> {
  for (const method of OTHERS) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  const routes = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const path = url.length > 1 ? url.replace(/\/$/, '') : url
    const methods = routes.get(path) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    routes.set(path, methods)
  })
  return async (scope) => {
    for (const [url, methods] of [...routes]) {
      const allow = [...methods, 'OPTIONS'].sort().join(', ')
      const others = OTHERS.filter((method) => !methods.has(method))
      scope.route({
        url,
        method: others,
        schema: { hide: true },
        config: { isPublic: true },
        onRequest: async (request, reply) => {
          reply.header('allow', allow)
          if (request.method === 'OPTIONS') return reply.code(204).send()
          throw CobError.of('method-not-allowed', {
            path: request.url.slice(0, 200),
            method: request.method,
            allow,
          })
        },
        handler: () => {},
      })
    }
  }
}
