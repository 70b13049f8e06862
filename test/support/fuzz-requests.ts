import { readFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import fc, { type Arbitrary } from 'fast-check'
import { ADMIN, BEARER, KEY } from './http-fixture.ts'
import { character, fromSchema, hostileJson, nearSchema, type Schema } from './schema-arbitrary.ts'

export interface Operation {
  readonly parameters?: readonly { readonly name: string }[]
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> }
  readonly responses: Record<string, { readonly content?: Record<string, unknown> }>
}
/** As it is sent; a body has its length said. */
export interface FuzzRequest {
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** `method path` of the operation this is meant for, and whether it looks good. */
  readonly operation?: string
  readonly isGood?: boolean
}

// The generated document; a check of its own tells when it is not what the server says.
export const document = JSON.parse(readFileSync(new URL('../../openapi.json', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, Operation>>
}
/** By `method path`. */
export const operations: ReadonlyMap<string, Operation> = new Map(
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const)
      // A server that drains would refuse most of the rest.
      .filter(([name]) => name !== 'POST /v1/admin/drain'),
  ),
)
/** A key that requests of an admin may change. */
export const CHANGED_KEY = 'AKIACHANGED'
const LONG = 'x'.repeat(9000)
const NOBODY = 'TSSJT2Z4SnmQhxjWMnJljg'

const text = fc.stringMatching(/^[!-~][ -~]{0,40}$/)
const key = fc.constantFrom(BEARER, BEARER, BEARER, BEARER.replace(KEY.accessKey, 'AKIAOTHER'))
const hostileId = fc.oneof(
  fc.constantFrom(NOBODY, 'create', '.', '..', '%2e%2e', '%00', '__proto__', `${NOBODY}%0d%0a`, LONG),
  fc.string({ unit: character, maxLength: 30 }).map((one) => encodeURIComponent(one.toWellFormed())),
  text.map((one) => one.replaceAll(' ', '+')),
)
/** A kernel, and an execution of it. */
interface Place {
  readonly id: string
  readonly executionId: string
}
const hostilePlace = fc.record({ id: hostileId, executionId: hostileId })
const hints = {
  lang: fc.constantFrom('fake', 'fake', 'f', 'other', 'absent'),
  code: fc.constantFrom(
    'print a',
    'value 1',
    'raise E',
    'set x',
    ...Array<string>(24).fill('ask ?'),
    'crash',
    'oom',
    'garbage',
    '',
  ),
  resourceLimits: fc.constant({ maxMem: 0 }),
  environ: fc.constant({}),
  codeId: fc.constantFrom('a', 'b'),
}

const HEADERS =
  'authorization content-type content-encoding accept prefer date x-sorna-date x-sorna-version x-request-id host connection upgrade expect __proto__'
const hostileHeaders = fc.array(
  fc.oneof(
    fc.tuple(fc.constant('authorization'), key),
    fc.tuple(
      fc.constantFrom(...HEADERS.split(' ')),
      fc.oneof(
        text,
        text.map((one) => `Sorna ${one}`),
        fc.constantFrom(
          '',
          'wait=0',
          'application/json',
          '*/*;q=0',
          '100-continue',
          'close',
          '\xff\x80',
          LONG,
        ),
        fc.constant(`Sorna signMethod=HMAC-SHA256, credential=${KEY.accessKey}:${'0'.repeat(64)}`),
      ),
    ),
  ),
  { maxLength: 6 },
)
const TARGETS = `/ // //v1 /v1//kernels /v1/../v1 /%2e%2e/%2e%2e/etc/passwd /..%2f..%2fetc /v1%00 /v1/kernel/% /v1?a=%ff /v1#x * /docs
  /docs/static/..%2f..%2fpackage.json /openapi.json /${LONG} http://elsewhere/v1 /v1;a=b /v1/kernel/%c0%ae%c0%ae /%u0041 /v1/\xff
  /${'../'.repeat(1000)}`
const SEGMENTS = ['v1', 'kernel', 'kernels', '..', '', '%2f', '%', '\\', '?', '#']

/** As kernels end all the time: most other operations need one that is there, some code that waits, some a file. */
const WEIGHTS: Readonly<Record<string, number>> = {
  'POST /v1/kernel/create': 8,
  'POST /v1/kernel/{id}': 6,
  'PUT /v1/kernel/{id}/files/{path}': 8,
  'GET /v1/kernel/{id}/files/{path}': 4,
  'DELETE /v1/kernel/{id}/files/{path}': 6,
}

/** Not meant for any operation: paths, methods and bytes of all kinds. */
const stray: Arbitrary<FuzzRequest> = fc.record({
  method: fc.oneof(
    fc.constantFrom('GET', 'POST', 'HEAD', 'OPTIONS'),
    // Of CONNECT and PRI nothing comes through.
    fc.constantFrom(...METHODS.filter((method) => method !== 'CONNECT'), 'get', 'BREW', 'X'.repeat(100)),
  ),
  target: fc.oneof(
    fc.constantFrom(...Object.keys(document.paths), ...TARGETS.split(/\s+/)),
    fc.webPath(),
    hostileId.map((one) => `/v1/kernel/${one}`),
    fc.stringMatching(/^\/[!-~]{0,40}$/),
    fc.array(fc.constantFrom(...SEGMENTS), { maxLength: 8 }).map((parts) => `/${parts.join('/')}`),
  ),
  headers: hostileHeaders,
  body: fc.oneof(
    hostileJson.map((json) => Buffer.from(json)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  ),
})

const goodFile = fc.constantFrom('a', 'b', 'c/d', 'c/e')
const PART = '--b\r\nContent-Disposition: form-data; name="f"; filename='

/** Requests for one operation: such as it accepts, and such as it does not. */
function requestsFor(name: string, { requestBody, parameters }: Operation, place: Arbitrary<Place>) {
  const [method = '', path = ''] = name.split(' ')
  const schema = requestBody?.content['application/json']?.schema
  const good = schema ? fromSchema(schema, hints) : undefined
  const isUpload = requestBody?.content['multipart/form-data'] !== undefined
  const goodBody = good
    ? good.map((value) => JSON.stringify(value))
    : isUpload
      ? goodFile.map((name) => `${PART}"${name}"\r\n\r\nx\r\n--b--\r\n`)
      : fc.constant('')
  const oddBody = fc.oneof(hostileJson, ...(good ? [nearSchema(good)] : [])).map((json) => Buffer.from(json))
  const targets = (where: Arbitrary<Place>, file: Arbitrary<string>): Arbitrary<string> =>
    parameters
      ? fc.tuple(where, file).map(([{ id, executionId }, other]) =>
          path
            // Without one it is the list that is meant: of `#` and `?` what follows is no path.
            .replace('{accessKey}', other === 'a' || /^(?:[?#]|$)/.test(other) ? CHANGED_KEY : other)
            .replace('{id}', id)
            .replace('{path}', other)
            .replace('{executionId}', executionId),
        )
      : fc.constant(path)
  const type = 'content-type'
  const contentType = isUpload ? 'multipart/form-data; boundary=b' : 'application/json'
  const meant = { method, operation: name }
  const isAdmin = path.startsWith('/v1/admin/')
  const accepted: Arbitrary<FuzzRequest> = fc
    .record({ target: targets(place, goodFile), body: goodBody, key: isAdmin ? fc.constant(ADMIN) : key })
    .map(({ target, body, key }) => ({
      ...meant,
      isGood: true,
      target,
      headers: [
        ['authorization', key],
        ['prefer', 'wait=1'],
        ...(body === '' ? [] : [[type, contentType] as const]),
      ],
      body: Buffer.from(body),
    }))
  const odd: Arbitrary<FuzzRequest> = fc
    .record({
      target: targets(fc.oneof(place, hostilePlace), fc.oneof(goodFile, hostileId)),
      body: oddBody,
      headers: isAdmin
        ? fc.oneof(hostileHeaders, fc.constant([['authorization', ADMIN] as const]))
        : hostileHeaders,
    })
    .map((odd) => ({ ...meant, ...odd, isGood: false, headers: [[type, contentType], ...odd.headers] }))
  return { accepted, odd }
}

/** Requests of all kinds. `kernelIds` are those that were made so far; the last few are used. */
export function fuzzRequests(kernelIds: readonly string[]): Arbitrary<FuzzRequest> {
  const live = fc
    .tuple(fc.nat(3), hints.codeId)
    .map(([back, executionId]) => ({ id: kernelIds.at(-1 - back) ?? NOBODY, executionId }))
  const meant = [...operations].map(([name, operation]) => ({
    ...requestsFor(name, operation, live),
    weight: WEIGHTS[name] ?? 1,
  }))
  return fc.oneof(
    {
      arbitrary: fc.oneof(...meant.map(({ accepted, weight }) => ({ arbitrary: accepted, weight }))),
      weight: 4,
    },
    { arbitrary: fc.oneof(...meant.map(({ odd }) => odd)), weight: 3 },
    { arbitrary: stray, weight: 3 },
  )
}
