import type { Logger } from './logger.ts'
import type { Observer } from './observer.ts'

/** A request that is under way, as a trace has it. */
export interface RequestSpan {
  readonly traceId: string
  /** What is started within `act` is part of this. */
  run(act: () => void): void
  /** Idempotent. */
  end(answer: {
    /** The template of its path. */
    readonly route: string | undefined
    readonly status: number
    readonly kernelId: string | undefined
  }): void
}

/** Traces of requests, and of the sessions and executions that they start. */
export interface Tracing {
  readonly observer: Partial<Observer>
  startRequest(request: {
    readonly requestId: string
    readonly method: string
    /** Of whom it continues (W3C Trace Context: `traceparent`, `tracestate`). */
    readonly headers: Readonly<Record<string, unknown>>
  }): RequestSpan
  /** Sends what there is, within some seconds. */
  close(): Promise<void>
}

export interface TracingOptions {
  /** Base of the addresses of a collector that takes OTLP over HTTP; `/v1/traces` is added. */
  readonly endpoint: string
  readonly version: string
  readonly logger: Logger
}
