import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import {
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from '@opentelemetry/resources'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Tracing, TracingOptions } from './tracing.ts'

/** ms between two exports, and for one of them. */
const EXPORT_EVERY_MS = 2000
const EXPORT_TIMEOUT_MS = 3000
/** Spans that wait to be sent; more are dropped. */
const MAX_WAITING = 4096

/**
 * Traces by OpenTelemetry's own packages, which are loaded with this file and register nothing globally. Names are those of its semantic
 * conventions where there are any. No path, code or output is in a span.
 */
export function createTracing({ endpoint, version, logger }: TracingOptions): Tracing {
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  })
  const provider = new TracerProvider({
    // Behind it, so that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count.
    resource: resourceFromAttributes({ 'service.name': 'cob', 'service.version': version }).merge(
      detectResources({ detectors: [resourceAttributesEnvDetector, serviceNameEnvDetector] }),
    ),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        scheduledDelayMillis: EXPORT_EVERY_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
        maxQueueSize: MAX_WAITING,
      }),
    ],
  })
  const tracer = provider.getTracer('cob', version)
  const propagator = new W3CTraceContextPropagator()
  const active = new AsyncLocalStorage<Context>()
  const start = (name: string, attributes: Record<string, string>): Span =>
    tracer.startSpan(name, { attributes }, active.getStore() ?? ROOT_CONTEXT)
  // Of what is under way; whoever started it ends it, or its session does.
  const creates = new Map<string, Span>()
  const executions = new Map<string, Span>()
  const take = (spans: Map<string, Span>, id: string): Span | undefined => {
    const span = spans.get(id)
    spans.delete(id)
    return span
  }

  return {
    observer: {
      creating: ({ kernelId, lang }) =>
        void creates.set(kernelId, start('create', { 'cob.kernel.id': kernelId, 'cob.lang': lang })),
      created: ({ kernelId }, { isWarm }) =>
        take(creates, kernelId)
          ?.setAttribute('cob.start', isWarm ? 'warm' : 'cold')
          .end(),
      ended: ({ kernelId }, reason) =>
        take(creates, kernelId)?.setStatus({ code: SpanStatusCode.ERROR, message: reason }).end(),
      submitted: ({ kernelId, lang }, { id }) => {
        const attributes = { 'cob.kernel.id': kernelId, 'cob.execution.id': id, 'cob.lang': lang }
        executions.set(id, start('execute', attributes))
      },
      executed: (_session, { id, durationMs }, outcome) =>
        take(executions, id)?.setAttributes({ 'cob.outcome': outcome, 'cob.duration_ms': durationMs }).end(),
    },
    startRequest({ requestId, method, headers }) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter)
      const attributes = { 'http.request.method': method, 'cob.request.id': requestId }
      const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent)
      const context = trace.setSpan(parent, span)
      let isEnded = false
      return {
        traceId: span.spanContext().traceId,
        run: (act) => active.run(context, act),
        end({ route, status, kernelId }) {
          if (isEnded) return
          isEnded = true
          if (route !== undefined) span.updateName(`${method} ${route}`).setAttribute('http.route', route)
          if (kernelId !== undefined) span.setAttribute('cob.kernel.id', kernelId)
          span.setAttribute('http.response.status_code', status)
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
          span.end()
        },
      }
    },
    async close() {
      try {
        await provider.shutdown()
      } catch (err) {
        logger.warn({ err }, 'The last traces could not be sent.')
      }
    },
  }
}
