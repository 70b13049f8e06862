import type { Attached } from '@cob/protocol'
import type { AgentOutput } from '../channel/agent-link.ts'
import type { ExecutionRecord } from '../store/session-store.ts'
import type { OutputEvent } from './output.ts'

/** What an execution does in its session's name: each is one event of its log. */
export type ExecutionOutput = Extract<
  AgentOutput,
  { type: OutputEvent['type'] | 'input_request' | 'execute_reply' }
>
export type ExecuteReply = Extract<ExecutionOutput, { type: 'execute_reply' }>
type StreamEvent = Extract<OutputEvent, { type: 'stream' }>

/** One execution as an earlier server and the agent have it. */
export interface Recovered {
  readonly record: ExecutionRecord
  /** `lost`: another interpreter took the place of the one it ran in. */
  readonly state: 'waiting' | 'running' | 'ended' | 'lost'
  /** How many of its first events are not kept any more; then come these. */
  readonly cut: number
  readonly events: readonly ExecutionOutput[]
}

export interface Recovery {
  /** In order of acceptance. Of others nothing is left but that they were. */
  readonly executions: readonly Recovered[]
  readonly accepted: number
  /** What was printed since the last one ended. */
  readonly unowned: readonly StreamEvent[]
  /** The last thing that was heard is that one ended, or asks. */
  readonly isAtRest: boolean
  /** The agent runs what was not to run, or makes a new interpreter. */
  readonly needsRestart: boolean
  /** The agent refused one. */
  readonly isBroken: boolean
}

/**
 * What became of the executions in `records` while no server was there, from what the agent says: `events` are those it still has, as far as
 * they were before `attached`.
 */
export function recover(
  records: readonly ExecutionRecord[],
  attached: Attached,
  events: readonly AgentOutput[],
): Recovery {
  const outputs = Map.groupBy(events.filter(isExecutionOutput), ({ id }) => id)
  const cutOf = ({ id }: ExecutionRecord): number => (attached.cut?.id === id ? attached.cut.count : 0)
  const outputsOf = ({ id }: ExecutionRecord): readonly ExecutionOutput[] => outputs.get(id) ?? []
  const reachedAgent = (record: ExecutionRecord): boolean =>
    record.id === attached.last || cutOf(record) > 0 || outputsOf(record).length > 0
  const lastReached = records.findLast(reachedAgent)
  const executions: Recovered[] = []
  let accepted = 0

  for (const record of records) {
    const [own, cut] = [outputsOf(record), cutOf(record)]
    const add = (state: Recovered['state']): void => void executions.push({ record, state, cut, events: own })
    const isPast = lastReached !== undefined && record.count < lastReached.count
    // Nobody was told of one that the agent never got and of which no code is kept.
    if (record.end || record.code !== null || isPast || reachedAgent(record)) accepted = record.count
    if (record.end) add('ended')
    else if (own.some(({ type }) => type === 'execute_reply')) add('ended')
    else if (record.id === attached.execution) add('running')
    else if (record.id === attached.last && attached.state === 'dead') add('running')
    else if (own.length > 0 || (record.id === attached.last && cut === 0)) add('lost')
    else if (!reachedAgent(record) && !isPast && record.code !== null) add('waiting')
  }
  const isRunning = executions.some(({ state }) => state === 'running')
  return {
    executions,
    accepted,
    unowned: isRunning ? [] : unownedOf(events),
    isAtRest: isRest(events.findLast(({ type }) => type !== 'fail' && type !== 'status')),
    needsRestart: attached.state === 'starting' || (attached.execution !== null && !isRunning),
    isBroken: events.some(({ type, id }) => type === 'fail' && id !== null && id === lastReached?.id),
  }
}

function isExecutionOutput(event: AgentOutput): event is ExecutionOutput {
  return event.id !== null && event.type !== 'fail' && event.type !== 'status'
}

function isRest(event: AgentOutput | undefined): boolean {
  return event?.type === 'execute_reply' || event?.type === 'input_request'
}

function unownedOf(events: readonly AgentOutput[]): StreamEvent[] {
  const from = events.findLastIndex((event) => isExecutionOutput(event) || event.type === 'status') + 1
  return events.slice(from).filter((event) => event.type === 'stream')
}
