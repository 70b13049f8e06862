import type { Tracing, TracingOptions } from './tracing.ts'

/** Undefined without an endpoint: nothing is loaded then, and nothing is done. */
export async function openTracing(
  options: Omit<TracingOptions, 'endpoint'> & { readonly endpoint: string | undefined },
): Promise<Tracing | undefined> {
  const { endpoint } = options
  if (endpoint === undefined) return undefined
  const { createTracing } = await import('./open-telemetry.ts')
  return createTracing({ ...options, endpoint })
}
