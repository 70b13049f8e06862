/**
 * Every error a client can meet: code -> HTTP status, title and the template of its detail.
 * `docs/reference/errors.md` is generated from this table.
 */
export const ERRORS = {
  'malformed-http': {
    status: 400,
    title: 'Not an HTTP request',
    detail: 'This is not an HTTP/1.1 request the server can read: {problem}.',
  },
  'invalid-json': {
    status: 400,
    title: 'Malformed JSON',
    detail: 'The body is not valid JSON: {problem}. Send one JSON object, UTF-8.',
  },
  'invalid-utf8': {
    status: 400,
    title: 'Not UTF-8',
    detail: 'The body is not valid UTF-8. Encode it as UTF-8.',
  },
  'invalid-request': { status: 400, title: 'Invalid request', detail: '{problem}' },
  'unknown-lang': {
    status: 400,
    title: 'Unknown kernel type',
    detail: 'There is no kernel type "{lang}". Known: {known}.',
  },
  'lang-unavailable': {
    status: 400,
    title: 'Kernel type not installed',
    detail: 'Kernel type "{lang}" is not installed on this server. To install it: {install}.',
  },
  'feature-missing': {
    status: 400,
    title: 'Not available for this kernel type',
    detail: 'Kernel type "{lang}" has no "{feature}". GET /v1/langs lists the features of each.',
  },
  'limit-too-low': {
    status: 400,
    title: 'Limit too low',
    detail: 'resourceLimits.{field} is {value} {unit}; "{lang}" needs at least {min} {unit}.',
  },
  unauthorized: { status: 401, title: 'Not authorized', detail: '{problem}' },
  forbidden: {
    status: 403,
    title: 'Forbidden',
    detail: 'This needs a key with the role admin; this one has the role {role}.',
  },
  'lang-not-allowed': {
    status: 403,
    title: 'Kernel type not allowed',
    detail: 'This key may not use kernel type "{lang}". It may use: {allowed}.',
  },
  'no-such-key': {
    status: 404,
    title: 'No such key',
    detail: 'There is no key "{accessKey}". GET /v1/admin/keys, or "cob keys list", lists them.',
  },
  'last-admin': {
    status: 409,
    title: 'Last admin',
    detail: 'Key "{accessKey}" is the only valid one with the role admin. Make another one first.',
  },
  'no-such-route': {
    status: 404,
    title: 'No such resource',
    detail: 'There is nothing at {method} {path}. GET /openapi.json lists what there is.',
  },
  'no-such-kernel': { status: 404, title: 'No such kernel', detail: 'There is no kernel "{id}".' },
  'kernel-gone': {
    status: 404,
    title: 'No such kernel',
    detail: 'Kernel "{id}" has ended: {reason} at {terminatedAt}.',
  },
  'malformed-kernel-id': {
    status: 404,
    title: 'No such kernel',
    detail:
      '"{id}" is not a kernel id: those are 22 characters of base64url, as POST /v1/kernel/create returns them.',
  },
  'no-such-execution': {
    status: 404,
    title: 'No such execution',
    detail:
      'Kernel "{id}" has no execution "{codeId}" any more, or never had. The last ones are kept for a while; send code to start one.',
  },
  'malformed-path': {
    status: 400,
    title: 'Not a path of a file',
    detail:
      '"{path}" is not the path of a file: {problem}. Send names below the working directory, such as data/a.csv.',
  },
  'malformed-upload': {
    status: 400,
    title: 'Malformed upload',
    detail:
      'The body is not multipart/form-data with files: {problem}. Send each file as a part with a filename.',
  },
  'origin-refused': {
    status: 403,
    title: 'Origin refused',
    detail:
      'Pages of "{origin}" may not open WebSockets here. The operator of this server can allow them (COB_CORS_ORIGINS).',
  },
  'file-refused': { status: 403, title: 'File refused', detail: '"{path}" cannot be used: {problem}.' },
  'no-such-file': {
    status: 404,
    title: 'No such file',
    detail: 'There is no "{path}" in the working directory.',
  },
  'file-conflict': { status: 409, title: 'Conflict', detail: '"{path}" cannot be used: {problem}.' },
  'upload-too-large': {
    status: 413,
    title: 'Upload too large',
    detail: '"{path}" is larger than {max} bytes, the most this server takes (COB_MAX_UPLOAD_BYTES).',
  },
  'range-not-satisfiable': {
    status: 416,
    title: 'Range not satisfiable',
    detail: 'Range is "{range}"; "{path}" has {size} bytes.',
  },
  'too-many-transfers': {
    status: 429,
    title: 'Too many transfers',
    detail:
      '{count} transfers of files of kernel "{id}" are under way, the most that may. Try again when one has ended.',
  },
  'no-space': {
    status: 507,
    title: 'Not enough space',
    detail:
      '"{path}" does not fit: {free} bytes are left for it. Remove files, or create a kernel with more memory; files count towards it.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    detail: '{path} does not take {method}. Allowed: {allow}.',
  },
  'not-acceptable-type': {
    status: 406,
    title: 'Not acceptable',
    detail: 'Accept is "{accept}"; this resource answers {offers}.',
  },
  'limits-exceeded': {
    status: 406,
    title: 'Not acceptable',
    detail: 'resourceLimits.{field} is {value} {unit}; this server allows at most {max} {unit}.',
  },
  'request-timeout': {
    status: 408,
    title: 'Request timeout',
    detail: 'The request did not arrive in time. Send it again, without pauses.',
  },
  'token-in-use': {
    status: 409,
    title: 'Token in use',
    detail:
      'clientSessionToken "{token}" belongs to a live "{lang}" kernel. Use another token or destroy that kernel.',
  },
  'nothing-runs': {
    status: 409,
    title: 'Nothing runs',
    detail: 'Nothing runs in kernel "{id}" now.',
  },
  'not-waiting': {
    status: 409,
    title: 'No question is open',
    detail: 'Nothing that runs in kernel "{id}" waits for input now.',
  },
  'kernel-busy': {
    status: 409,
    title: 'Kernel busy',
    detail: 'Kernel "{id}" is {state}; this can be asked while nothing runs.',
  },
  'events-gone': {
    status: 410,
    title: 'Events gone',
    detail:
      'Events after {after} of execution {executionId} are not kept any more; the first one there is has number {firstId}.',
  },
  'code-id-in-use': {
    status: 409,
    title: 'codeId in use',
    detail:
      'codeId "{codeId}" names an execution that has not been fetched. Send empty code to fetch it, or use another codeId.',
  },
  'upgrade-required': {
    status: 426,
    title: 'Upgrade required',
    detail: '{path} is a WebSocket; connect with one (RFC 6455).',
  },
  'payload-too-large': {
    status: 413,
    title: 'Body too large',
    detail: 'The body is larger than {max} bytes, the most this server accepts.',
  },
  'unsupported-upload': {
    status: 415,
    title: 'Unsupported media type',
    detail: 'Content-Type is "{type}"; send multipart/form-data.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'Unsupported media type',
    detail: 'Content-Type is "{type}"; send application/json.',
  },
  'quota-exceeded': {
    status: 429,
    title: 'Quota exceeded',
    detail: 'This key {problem}',
  },
  'too-many-terminals': {
    status: 429,
    title: 'Too many terminals',
    detail: 'Kernel "{id}" has {count} terminals, the most it may have. Close one first.',
  },
  'too-many-watchers': {
    status: 429,
    title: 'Too many watchers',
    detail: '{count} clients watch kernel "{id}", the most that may.',
  },
  'queue-full': {
    status: 429,
    title: 'Queue full',
    detail:
      '{count} executions already wait on kernel "{id}", the most that may. Try again when one has ended.',
  },
  'too-much-held': {
    status: 429,
    title: 'Too much is held',
    detail:
      "Code, environments and results of this key's kernels fill its share of the server's memory. Fetch results or end kernels, then try again.",
  },
  'too-much-sent': {
    status: 429,
    title: 'Too much is sent at once',
    detail:
      "Bodies on their way from this key or, without one, this address fill its share of the server's memory. Send fewer at once.",
  },
  'too-many-unanswered': {
    status: 429,
    title: 'Too many requests at once',
    detail:
      '{max} requests of this connection wait for their answers, the most that may. Wait for one of them.',
  },
  'rate-limited': {
    status: 429,
    title: 'Too many requests',
    detail: 'More than {limit} requests in 15 minutes. Try again in {retryAfter} s.',
  },
  'headers-too-large': {
    status: 431,
    title: 'Request header fields too large',
    detail: 'The path and the headers are larger than 16 KB together. Send less of them.',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    detail: 'Something went wrong on our side. The log has the details under this request id.',
  },
  'no-capacity': {
    status: 503,
    title: 'No capacity',
    detail: 'All {count} kernels of this server are in use. Try again later.',
  },
  'network-unavailable': {
    status: 503,
    title: 'No network for kernels',
    detail: "This key's kernels have network access, which this server cannot give: {problem}",
  },
  'kernel-start-failed': {
    status: 503,
    title: 'Kernel did not start',
    detail:
      'The sandbox for "{lang}" could not be started. Try again; the log has the details under this request id.',
  },
  'transfer-broken': {
    status: 503,
    title: 'Transfer broken off',
    detail: 'The transfer of "{path}" broke off inside the kernel. Try again.',
  },
  'not-recorded': {
    status: 503,
    title: 'Not recorded',
    detail: 'The server cannot read or write its records, so it did nothing: {problem}. Try again.',
  },
  draining: {
    status: 503,
    title: 'Draining',
    detail:
      'This server takes no new kernels at this time; those there are go on. Use another server, or try again later.',
  },
  'shutting-down': {
    status: 503,
    title: 'Shutting down',
    detail: 'The server is shutting down. Try again later.',
  },
} as const satisfies Record<string, { status: number; title: string; detail: string }>

export type ErrorCode = keyof typeof ERRORS

type Placeholders<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never
export type ErrorParams<C extends ErrorCode> = Record<
  Placeholders<(typeof ERRORS)[C]['detail']>,
  string | number
>

interface CobErrorOptions {
  readonly cause?: unknown
  /** Seconds for `Retry-After`. */
  readonly retryAfterS?: number
  /** Extra members of the problem document (RFC 9457, 3.2). */
  readonly extra?: Readonly<Record<string, unknown>>
}

/** Most of one parameter that is repeated to the client, in characters: it may be what the client sent. */
const MAX_PARAMETER = 2000

function shorten(text: string): string {
  return text.length > MAX_PARAMETER ? `${text.slice(0, MAX_PARAMETER)}…` : text
}

/** The one error class; told apart by `code`. */
export class CobError extends Error {
  override readonly name = 'CobError'
  readonly code: ErrorCode
  readonly status: number
  readonly title: string
  readonly retryAfterS: number | undefined
  readonly extra: Record<string, unknown>

  private constructor(
    code: ErrorCode,
    params: Readonly<Record<string, string | number>>,
    options: CobErrorOptions,
  ) {
    const entry = ERRORS[code]
    super(
      entry.detail.replace(/\{(\w+)\}/g, (whole, name: string) => shorten(String(params[name] ?? whole))),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.code = code
    this.status = entry.status
    this.title = entry.title
    this.retryAfterS = options.retryAfterS
    this.extra = { ...options.extra }
  }

  /** The same error with more members in its problem document. */
  with(extra: Readonly<Record<string, unknown>>): CobError {
    Object.assign(this.extra, extra)
    return this
  }

  static of<C extends ErrorCode>(code: C, params: ErrorParams<C>, options: CobErrorOptions = {}): CobError {
    return new CobError(code, params, options)
  }
}
