import type { FastifyReply } from 'fastify'

/** Nothing this server answers is a page, the docs apart, which have a policy of their own. */
const POLICY = "default-src 'none'; frame-ancestors 'none'"
/** The same for what came out of a session: it would not even have this server's origin. */
export const FILE_POLICY: string = `sandbox; ${POLICY}`

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

/** The same as lines of a head that is written by hand. */
export const PROTECTION_LINES: readonly string[] = Object.entries(HEADERS).map(
  ([name, value]) => `${name}: ${value}`,
)

/** Tells browsers to make nothing more of an answer than it is: no script, no frame, no other type, no picture on somebody else's page. */
export function protectFromBrowsers(reply: FastifyReply): void {
  reply.headers(HEADERS)
}
