import { Counter, Histogram, type Registry } from 'prom-client'

/** s */
const BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300]
/** Those of the API. A stranger may send any of thirty more to every route. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const CLASSES = ['0xx', '1xx', '2xx', '3xx', '4xx', '5xx'] as const

interface Answered {
  /** The template of its path; undefined where there is none. */
  readonly route: string | undefined
  readonly method: string
  readonly status: number
  readonly durationMs: number
}

export interface HttpMetrics {
  answered(request: Answered): void
  /** A request was refused, or failed, with this code of the error registry. */
  refused(code: string): void
}

/** `codes`: all that there are. They are there from the start, as a rate needs a value before the first one. */
export function createHttpMetrics(registry: Registry, codes: readonly string[]): HttpMetrics {
  const registers = [registry]
  const requests = new Histogram({
    name: 'cob_http_request_seconds',
    help: 'Time from the headers of a request until its answer was sent, by template of the path; streams until their end.',
    labelNames: ['route', 'method', 'status'],
    buckets: BUCKETS,
    registers,
  })
  const problems = new Counter({
    name: 'cob_problems_total',
    help: 'Answers that are problem documents, by code: quota-exceeded, no-capacity, unauthorized and the others of docs/reference/errors.md.',
    labelNames: ['code'],
    registers,
  })
  for (const code of codes) problems.inc({ code }, 0)
  return {
    answered({ route = 'none', method, status, durationMs }) {
      const labels = {
        route,
        method: METHODS.has(method) ? method : 'other',
        status: CLASSES[Math.floor(status / 100)] ?? CLASSES[0],
      }
      requests.observe(labels, durationMs / 1000)
    },
    refused: (code) => problems.inc({ code }),
  }
}
