import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Observer } from './observer.ts'

/** Sessions of one kernel type in one state. */
export interface SessionCount {
  readonly lang: string
  readonly state: string
  readonly count: number
}

/** What is kept warm of one kernel type. */
export interface WarmFigures {
  readonly lang: string
  readonly ready: number
  readonly wanted: number
  readonly memoryBytes: number
}

/** Figures of the moment, read when somebody asks for them. */
export interface SessionSources {
  census(): readonly SessionCount[]
  warm(): Promise<readonly WarmFigures[]>
}

/** s; a warm one takes 5 ms, a compiler's first start some seconds. */
const CREATE_BUCKETS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
/** s; up to the longest query timeout there is by default. */
const EXECUTION_BUCKETS = [0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 3600]
/** s; a tick comes every 0.2 s. */
const LAG_BUCKETS = [0.002, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]

export interface SessionMetrics {
  readonly observer: Partial<Observer>
  /** Reads the figures of the moment. */
  read(sources: SessionSources): Promise<void>
}

/** Labels are kernel types of this machine and words of this program, so their number is bounded. */
export function createSessionMetrics(registry: Registry): SessionMetrics {
  const registers = [registry]
  const gauge = <L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers })
  const counter = <L extends string>(name: string, help: string, labelNames: L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers })
  const sessions = gauge('cob_sessions', 'Sessions by kernel type and state.', ['lang', 'state'])
  const warm = {
    ready: gauge('cob_warm_sandboxes', 'Sandboxes that are ready and nobody has yet.', ['lang']),
    wanted: gauge('cob_warm_wanted', 'Sandboxes that are to be kept ready.', ['lang']),
    memoryBytes: gauge('cob_warm_memory_bytes', 'Memory of the sandboxes that are ready.', ['lang']),
  }
  const creates = new Histogram({
    name: 'cob_session_create_seconds',
    help: 'Time from a request for a session until its interpreter answered; start: warm or cold.',
    labelNames: ['lang', 'start'],
    buckets: CREATE_BUCKETS,
    registers,
  })
  const failures = counter(
    'cob_session_create_failures_total',
    "Sessions that could not be started, by the server's doing.",
    ['lang'],
  )
  const ends = counter('cob_session_ends_total', 'Ends of sessions by reason.', ['lang', 'reason'])
  const executions = counter(
    'cob_executions_total',
    'Executions that have ended: finished, interrupted, or the reason why they were ended.',
    ['lang', 'outcome'],
  )
  const durations = new Histogram({
    name: 'cob_execution_seconds',
    help: 'Time from the start of an execution to its end, questions it asked included.',
    labelNames: ['lang'],
    buckets: EXECUTION_BUCKETS,
    registers,
  })
  const faults = counter(
    'cob_agent_errors_total',
    'What went wrong between the server and the agents: lost, refused, restart, warm-start, warm-up.',
    ['lang', 'kind'],
  )
  const lag = new Histogram({
    name: 'cob_sampler_lag_seconds',
    help: 'How late the timer was that ends idle and overdrawn sessions.',
    buckets: LAG_BUCKETS,
    registers,
  })

  return {
    observer: {
      created: ({ lang }, { isWarm, durationMs }) =>
        creates.observe({ lang, start: isWarm ? 'warm' : 'cold' }, durationMs / 1000),
      createFailed: ({ lang }) => failures.inc({ lang }),
      ended: ({ lang }, reason) => ends.inc({ lang, reason }),
      executed: ({ lang }, { durationMs }, outcome) => {
        executions.inc({ lang, outcome })
        if (durationMs > 0) durations.observe({ lang }, durationMs / 1000)
      },
      agentFailed: (lang, kind) => faults.inc({ lang, kind }),
      ticked: (lateMs) => lag.observe(lateMs / 1000),
    },
    async read(sources) {
      // The last one of a state may have left it.
      sessions.reset()
      for (const { lang, state, count } of sources.census()) sessions.set({ lang, state }, count)
      for (const { lang, ...figures } of await sources.warm()) {
        warm.ready.set({ lang }, figures.ready)
        warm.wanted.set({ lang }, figures.wanted)
        warm.memoryBytes.set({ lang }, figures.memoryBytes)
      }
    },
  }
}
