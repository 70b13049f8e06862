import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { createHttpMetrics, type HttpMetrics } from './http-metrics.ts'
import type { Observer } from './observer.ts'
import { createSessionMetrics, type SessionSources } from './session-metrics.ts'

/** s; the embedded store answers in microseconds, one that waits for a disk or another process in milliseconds. */
const STORE_BUCKETS = [0.00005, 0.0002, 0.001, 0.005, 0.02, 0.1, 0.5, 2, 5]

/** What an operator alerts on. */
export interface Metrics {
  readonly contentType: string
  /** To be told of what happens to sessions. */
  readonly observer: Partial<Observer>
  readonly http: HttpMetrics
  /** The store has answered. */
  stored(answer: { readonly operation: string; readonly durationMs: number; readonly isError: boolean }): void
  /** The TLS certificate in use is valid until then, ms since the epoch. */
  certified(validUntil: number): void
  /** In Prometheus' text format. */
  text(sources: SessionSources): Promise<string>
}

/** `errorCodes`: all that an answer may have. */
export function createMetrics(errorCodes: readonly string[]): Metrics {
  const registry = new Registry()
  // Memory, CPU time, descriptors, garbage collection, and the delay of the event loop.
  collectDefaultMetrics({ register: registry })
  const sessions = createSessionMetrics(registry)
  const http = createHttpMetrics(registry, errorCodes)
  const store = new Histogram({
    name: 'cob_store_seconds',
    help: 'Time the store took to answer, by operation.',
    labelNames: ['operation'],
    buckets: STORE_BUCKETS,
    registers: [registry],
  })
  const storeErrors = new Counter({
    name: 'cob_store_errors_total',
    help: 'What the store was asked for and could not do, by operation.',
    labelNames: ['operation'],
    registers: [registry],
  })
  const certificate = new Gauge({
    name: 'cob_tls_certificate_expiry_seconds',
    help: 'When the TLS certificate in use expires, s since the epoch; there is no value without TLS.',
    registers: [registry],
  })
  // One without labels has a value from the start.
  certificate.remove()
  return {
    contentType: registry.contentType,
    observer: sessions.observer,
    http,
    stored({ operation, durationMs, isError }) {
      store.observe({ operation }, durationMs / 1000)
      if (isError) storeErrors.inc({ operation })
    },
    certified: (validUntil) => certificate.set(validUntil / 1000),
    async text(sources) {
      await sessions.read(sources)
      return registry.metrics()
    },
  }
}
