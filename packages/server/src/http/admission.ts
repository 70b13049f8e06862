import type { FastifyReply, FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import type { Key, Store } from '../store/store.ts'
import { createAuthentication } from './authentication.ts'
import { rawBody } from './body.ts'
import { toNetwork } from './network-address.ts'
import { createRateLimiter } from './rate-limit.ts'
import { createSignInGuard, type SignIn } from './sign-in-guard.ts'

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
  /**
   * Sets `request.owner` and `request.role` by a Bearer key; leaves it for a signature that may be good, which needs the body. Throws
   * `unauthorized`, `rate-limited`.
   */
  admit(request: FastifyRequest, reply: FastifyReply): void
  /** Sets the same by a signature. Throws `unauthorized`, `rate-limited`. */
  admitSigned(request: FastifyRequest, reply: FastifyReply): void
  /** Counts by address an answer for which nobody was counted yet; never refuses. */
  showAllowance(request: FastifyRequest, reply: FastifyReply): void
  /** Whether who was admitted would be admitted now: for what goes on after a request. */
  isWelcome(accessKey: string): boolean
}

export function createAdmission({ store, rateLimit, now }: AdmissionOptions): Admission {
  const authentication = createAuthentication(store, now)
  const limiter = createRateLimiter(now)
  const guard = createSignInGuard(now)

  const take = (reply: FastifyReply, who: string, limit: number): CobError | undefined => {
    const { remaining, resetMs, exceeded } = limiter.take(who, limit)
    reply.headers({
      'x-ratelimit-limit': limit,
      'x-ratelimit-remaining': remaining,
      'x-ratelimit-reset': resetMs,
    })
    const retryAfterS = toSeconds(resetMs)
    return exceeded
      ? CobError.of('rate-limited', { limit, retryAfter: retryAfterS }, { retryAfterS })
      : undefined
  }
  const count = (reply: FastifyReply, who: string, limit: number): void => {
    const refusal = take(reply, who, limit)
    if (refusal) throw refusal
  }
  const countAddress = (request: FastifyRequest, reply: FastifyReply): void =>
    count(reply, `address ${toNetwork(request.ip)}`, rateLimit.perAddress)
  const identify = (request: FastifyRequest, reply: FastifyReply, prove: () => Key | undefined): void => {
    const attempt = toSignIn(request)
    const waitMs = attempt === undefined ? 0 : guard.waitMs(attempt)
    let key: Key | undefined
    try {
      if (waitMs > 0) throw tooManyGuesses(waitMs)
      key = prove()
    } catch (error) {
      countAddress(request, reply)
      // A key that cannot be looked up is not a wrong one.
      if (error instanceof CobError && error.status >= 500) throw error
      const nextMs = attempt === undefined || waitMs > 0 ? 0 : guard.failed(attempt)
      if (nextMs > 0) reply.header('retry-after', toSeconds(nextMs))
      reply.header('www-authenticate', 'Bearer realm="cob", Sorna signMethod="HMAC-SHA256"')
      throw error
    }
    if (!key) return
    if (attempt !== undefined) guard.succeeded(attempt)
    count(reply, `key ${key.accessKey}`, key.limits.rateLimit ?? rateLimit.perKey)
    request.owner = key.accessKey
    request.role = key.role
  }

  return {
    countAddress,
    isWelcome(accessKey) {
      try {
        return authentication.isUsable(accessKey)
      } catch {
        // It cannot be looked up now; whoever came in may stay until it can.
        return true
      }
    },
    admit: (request, reply) => identify(request, reply, () => authentication.bearer(request)),
    admitSigned: (request, reply) =>
      identify(request, reply, () => authentication.signed(request, rawBody(request))),
    showAllowance(request, reply) {
      if (!reply.hasHeader('x-ratelimit-limit'))
        take(reply, `address ${toNetwork(request.ip)}`, rateLimit.perAddress)
    },
  }
}

/** `Bearer <accessKey>:<secretKey>`, or a signature whose parameters name `<accessKey>:<signature>`. */
const BEARER = /^bearer\s+([^\s:]{1,128}):(\S+)\s*$/i
const CREDENTIAL = /^sorna\s.*\bcredential\s*=\s*([^\s:,]{1,128}):/i

/** Undefined where no key is named. */
function toSignIn({ headers: { authorization = '' }, ip }: FastifyRequest): SignIn | undefined {
  const [, accessKey, secret] = BEARER.exec(authorization) ?? CREDENTIAL.exec(authorization) ?? []
  return accessKey === undefined ? undefined : { network: toNetwork(ip), accessKey, secret }
}

function tooManyGuesses(waitMs: number): CobError {
  const problem =
    'Too many sign-ins with this access key have failed at your address, so that its secret is compared once a second.'
  return CobError.of('unauthorized', { problem }, { retryAfterS: toSeconds(waitMs) })
}

function toSeconds(ms: number): number {
  return Math.ceil(ms / 1000)
}
