import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'

/** What is kept warm of one kernel type. */
interface WarmFigures {
  readonly lang: string
  readonly ready: number
  readonly wanted: number
  readonly memoryBytes: number
}

export interface Metrics {
  readonly contentType: string
  /** In Prometheus' text format. */
  text(): Promise<string>
}

/** Figures are asked for when somebody reads them. */
export function createMetrics(sources: { readonly warm: () => Promise<WarmFigures[]> }): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const gauge = (name: string, help: string): Gauge<'lang'> =>
    new Gauge({ name, help, labelNames: ['lang'], registers: [registry] })
  const warm = {
    ready: gauge('cob_warm_sandboxes', 'Sandboxes that are ready and nobody has yet.'),
    wanted: gauge('cob_warm_wanted', 'Sandboxes that are to be kept ready.'),
    memoryBytes: gauge('cob_warm_memory_bytes', 'Memory of the sandboxes that are ready.'),
  }
  return {
    contentType: registry.contentType,
    async text() {
      for (const { lang, ...figures } of await sources.warm()) {
        warm.ready.set({ lang }, figures.ready)
        warm.wanted.set({ lang }, figures.wanted)
        warm.memoryBytes.set({ lang }, figures.memoryBytes)
      }
      return registry.metrics()
    },
  }
}
