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
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const labelNames = ['lang']
  const wanted = new Gauge({
    name: 'cob_warm_wanted',
    help: 'Sandboxes that are to be kept ready.',
    labelNames,
    registers,
  })
  const memory = new Gauge({
    name: 'cob_warm_memory_bytes',
    help: 'Memory of the sandboxes that are ready.',
    labelNames,
    registers,
  })
  new Gauge({
    name: 'cob_warm_sandboxes',
    help: 'Sandboxes that are ready and nobody has yet.',
    labelNames,
    registers,
    async collect() {
      for (const { lang, ready, ...figures } of await sources.warm()) {
        this.set({ lang }, ready)
        wanted.set({ lang }, figures.wanted)
        memory.set({ lang }, figures.memoryBytes)
      }
    },
  })
  return { contentType: registry.contentType, text: () => registry.metrics() }
}
