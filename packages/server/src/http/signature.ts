import { createHash, createHmac } from 'node:crypto'

/** What a signed request proves itself with (spec/api.md, "Keys"). */
export interface SignedRequest {
  readonly method: string
  /** Path and query as they came. */
  readonly target: string
  /** The `Date` or `X-Sorna-Date` header as it came. */
  readonly date: string
  /** The `Host` header as it came. */
  readonly host: string
  readonly version: string
  readonly body: Buffer
}

/** Lower-case hex HMAC-SHA256; `day` is the `YYYYMMDD` of the signing key. */
export function sign(request: SignedRequest, secretKey: string, day: string): string {
  const text = [
    request.method,
    request.target,
    request.date,
    `host:${request.host}`,
    'content-type:application/json',
    `x-sorna-version:${request.version}`,
    createHash('sha256').update(request.body).digest('hex'),
  ].join('\n')
  const dayKey = createHmac('sha256', secretKey).update(day).digest()
  const hostKey = createHmac('sha256', dayKey).update(request.host).digest()
  return createHmac('sha256', hostKey).update(text).digest('hex')
}

export interface SignatureDate {
  /** ms since the epoch */
  readonly at: number
  /** The days a client may have meant: of that moment in UTC, and as the header has it where it names another zone. */
  readonly days: readonly string[]
}

const ISO_8601 = /^(\d{4})-(\d\d)-(\d\d)[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?$/i
const RFC_7231 = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/

/** ISO 8601, in UTC where it names no zone, or RFC 7231; undefined for anything else. */
export function parseSignatureDate(text: string): SignatureDate | undefined {
  const iso = ISO_8601.exec(text)
  if (!iso && !RFC_7231.test(text)) return undefined
  const at = Date.parse(iso && iso[6] === undefined ? `${text}Z` : text)
  if (Number.isNaN(at)) return undefined
  const utcDay = new Date(at).toISOString().slice(0, 10).replaceAll('-', '')
  const writtenDay = iso ? `${iso[1]}${iso[2]}${iso[3]}` : utcDay
  return { at, days: [...new Set([utcDay, writtenDay])] }
}
