import type { FastifyRequest } from 'fastify'
import { isLoopback } from './loopback.ts'

/** Who may read `/metrics` without a key: who asks from this machine, nobody, or everybody. */
export type MetricsAccess = 'loopback' | 'key' | 'public'

/** What proxies say of whom they ask for. */
const FORWARDING_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via']
const LOCAL_NAME = /^(?:(?:[^:]+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i

/**
 * Whether the request may read `/metrics` without a key. A proxy on this machine asks from loopback for strangers, and so does a browser that was given
 * this machine's address for a stranger's name: the first says so, or keeps the name that it was asked by, as does the second.
 */
export function mayReadMetrics(access: MetricsAccess, { ip, headers }: FastifyRequest): boolean {
  switch (access) {
    case 'public':
      return true
    case 'key':
      return false
    case 'loopback':
      return (
        isLoopback(ip) &&
        LOCAL_NAME.test(headers.host ?? '') &&
        !FORWARDING_HEADERS.some((name) => name in headers)
      )
    default:
      return access satisfies never
  }
}
