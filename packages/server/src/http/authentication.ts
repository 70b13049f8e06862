import { randomBytes, timingSafeEqual } from 'node:crypto'
import { CREDENTIAL_PATTERN } from '@cob/protocol'
import type { FastifyRequest } from 'fastify'
import { CobError } from '../errors.ts'
import { isValid, parseKey, secretsOf } from '../store/key.ts'
import type { Key, Store } from '../store/store.ts'
import { parseSignatureDate, sign } from './signature.ts'

/** How far a signed request's date may be from the server's clock. */
const MAX_SKEW_MS = 15 * 60_000

const HOW = 'Send "Authorization: Bearer <accessKey>:<secretKey>", or a signature.'

const NO_MATCH = 'The key is unknown, disabled, or the signature does not match.'

export interface Authentication {
  /**
   * The key of a Bearer request; undefined for a signed one that only its body can prove or refute. Throws `unauthorized`, also for a
   * signature that no body could make good.
   */
  bearer(request: FastifyRequest): Key | undefined
  /** The key of a signed request. Throws `unauthorized`. */
  signed(request: FastifyRequest, body: Buffer): Key
  /** Whether the key is there and may be used now. */
  isUsable(accessKey: string): boolean
}

export function createAuthentication(store: Store, now: () => number): Authentication {
  // Compared with where there is no such key, so that this takes as long as a wrong secret.
  const noSecret = randomBytes(30).toString('base64url')
  /** `usable` is the key where it may be used now. */
  const lookUp = (accessKey: string): { secrets: readonly string[]; usable: Key | undefined } => {
    const key = store.findKey(accessKey)
    if (!key) return { secrets: [noSecret], usable: undefined }
    return { secrets: secretsOf(key, now()), usable: isValid(key, now()) ? key : undefined }
  }

  /** What a signed request says of itself, its dates fresh and its key usable. An access key is random: to name one is to have seen it. */
  const parseClaim = (request: FastifyRequest) => {
    const { accessKey, signature } = parseCredential(request.headers.authorization ?? '')
    const version = request.headers['x-sorna-version']
    if (typeof version !== 'string')
      throw unauthorized('A signed request needs an X-Sorna-Version header, such as v1.20160915.')
    const given = [request.headers['x-sorna-date'], request.headers.date].filter(
      (date) => typeof date === 'string',
    )
    if (given.length === 0) throw unauthorized('A signed request needs a Date or X-Sorna-Date header.')
    const dates = given.flatMap((date) => {
      const parsed = parseSignatureDate(date)
      return parsed && Math.abs(now() - parsed.at) <= MAX_SKEW_MS ? [{ date, days: parsed.days }] : []
    })
    if (dates.length === 0) {
      const clock = new Date(now()).toISOString()
      throw unauthorized(
        `The date "${given[0]?.slice(0, 80)}" is not ISO 8601 or RFC 7231 within 15 minutes of the server's clock, which says ${clock}.`,
      )
    }
    const { secrets, usable } = lookUp(accessKey)
    if (!usable) throw unauthorized(NO_MATCH)
    return { key: usable, signature, version, dates, secrets }
  }

  return {
    isUsable: (accessKey) => lookUp(accessKey).usable !== undefined,
    bearer(request) {
      const header = request.headers.authorization
      if (header === undefined) throw unauthorized(`There is no Authorization header. ${HOW}`)
      const [, scheme = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(header) ?? []
      if (scheme.toLowerCase() === 'sorna') {
        parseClaim(request)
        return undefined
      }
      if (scheme.toLowerCase() !== 'bearer')
        throw unauthorized(`The Authorization scheme is not known. ${HOW}`)
      const key = parseKey(rest.trim())
      if (!key) throw unauthorized('The Bearer token is not of the form <accessKey>:<secretKey>.')
      const { secrets, usable } = lookUp(key.accessKey)
      const matches = secrets.map((secret) => isSame(key.secretKey, secret))
      if (!matches.includes(true) || !usable)
        throw unauthorized('The key is unknown, disabled, or its secret is wrong.')
      return usable
    },
    signed(request, body) {
      const { key, signature, version, dates, secrets } = parseClaim(request)
      const host = request.headers.host ?? ''
      const target = request.originalUrl
      // Clients of 2016 sign "/v1/" and send "/v1".
      const targets = [target, target.endsWith('/') ? target.slice(0, -1) : `${target}/`]
      const common = { method: request.method, host, version, body }
      const matches = dates.flatMap(({ date, days }) =>
        days.flatMap((day) =>
          targets.flatMap((target) =>
            secrets.map((secret) => isSame(signature, sign({ ...common, target, date }, secret, day))),
          ),
        ),
      )
      if (!matches.includes(true)) throw unauthorized(NO_MATCH)
      return key
    },
  }
}

function parseCredential(header: string): { accessKey: string; signature: string } {
  const params = new Map(
    header
      .replace(/^\S+\s+/, '')
      .split(',')
      .map((pair) => {
        const [name = '', ...value] = pair.split('=')
        return [name.trim().toLowerCase(), value.join('=').trim()] as const
      }),
  )
  const method = params.get('signmethod')
  if (method?.toUpperCase() !== 'HMAC-SHA256') throw unauthorized('signMethod must be HMAC-SHA256.')
  const [, accessKey, signature] = CREDENTIAL_PATTERN.exec(params.get('credential') ?? '') ?? []
  if (accessKey === undefined || signature === undefined) {
    throw unauthorized('credential must be <accessKey>:<signature>, the signature 64 hexadecimal digits.')
  }
  return { accessKey, signature: signature.toLowerCase() }
}

/** In constant time for all of one length: that of secrets and signatures is known to everybody. */
function isSame(given: string, known: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(known)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function unauthorized(problem: string): CobError {
  return CobError.of('unauthorized', { problem })
}
