import type { FastifyReply, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import { createAuthentication } from './authentication.ts'
import { rawBody } from './body.ts'
import { createRateLimiter } from './rate-limit.ts'

interface AdmissionOptions {
  readonly store: Store
  /** Requests in 15 minutes. */
  readonly rateLimit: { readonly perKey: number; readonly perAddress: number }
  /** ms since the epoch */
  readonly now: () => number
}

/** Who a request comes from, and whether they may send more. Every method tells what is left in `X-RateLimit-*`. */
export interface Admission {
  /** Counts a request that needs no key, or has none. Throws `rate-limited`. */
  countAddress(request: FastifyRequest, reply: FastifyReply): void
  /** Sets `request.owner` by a Bearer key; leaves it for a signature that may be good, which needs the body. Throws `unauthorized`, `rate-limited`. */
  admit(request: FastifyRequest, reply: FastifyReply): void
  /** Sets `request.owner` by a signature. Throws `unauthorized`, `rate-limited`. */
  admitSigned(request: FastifyRequest, reply: FastifyReply): void
  /** Counts by address an answer for which nobody was counted yet; never refuses. */
  showAllowance(request: FastifyRequest, reply: FastifyReply): void
}

export function createAdmission({ store, rateLimit, now }: AdmissionOptions): Admission {
  const authentication = createAuthentication(store, now)
  const limiter = createRateLimiter(now)

  const take = (reply: FastifyReply, who: string, limit: number): CobError | undefined => {
    const { remaining, resetMs, exceeded } = limiter.take(who, limit)
    reply.headers({
      'x-ratelimit-limit': limit,
      'x-ratelimit-remaining': remaining,
      'x-ratelimit-reset': resetMs,
    })
    const retryAfterS = Math.ceil(resetMs / 1000)
    return exceeded
      ? CobError.of('rate-limited', { limit, retryAfter: retryAfterS }, { retryAfterS })
      : undefined
  }
  const count = (reply: FastifyReply, who: string, limit: number): void => {
    const refusal = take(reply, who, limit)
    if (refusal) throw refusal
  }
  const countAddress = (request: FastifyRequest, reply: FastifyReply): void =>
    count(reply, `address ${request.ip}`, rateLimit.perAddress)
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
    count(reply, `key ${accessKey}`, rateLimit.perKey)
    request.owner = accessKey
  }

  return {
    countAddress,
    admit: (request, reply) => identify(request, reply, () => authentication.bearer(request)),
    admitSigned: (request, reply) =>
      identify(request, reply, () => authentication.signed(request, rawBody(request))),
    showAllowance(request, reply) {
      if (!reply.hasHeader('x-ratelimit-limit')) take(reply, `address ${request.ip}`, rateLimit.perAddress)
    },
  }
}
