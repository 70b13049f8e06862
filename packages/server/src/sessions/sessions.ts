import type {
  Completion,
  CreateKernel,
  Inspection,
  KernelInfo,
  Question,
  RunCode,
  RunResult,
  SessionEvent,
  TerminalSize,
} from '@cob/protocol'
import type { SessionCount, WarmFigures } from '../observe/session-metrics.ts'
import type { Drain } from './drain.ts'
import type { LogReader } from './event-log.ts'
import type { Files } from './files.ts'
import type { Owner } from './owner.ts'
import type { InUse } from './quota.ts'
import type { Terminal } from './terminals.ts'

export type { Owner }

interface RunOptions {
  /** Answer with what there is after this many ms; undefined: wait for the end. */
  readonly waitMs?: number | undefined
  /** Aborts the waiting, not the execution. */
  readonly signal?: AbortSignal | undefined
  /** Resolves when the answer has left this process; what it contains counts as the owner's until then. */
  readonly sent?: Promise<void> | undefined
}

/** The events of one execution, to be read from a place on. */
export interface EventSource {
  readonly executionId: string
  /** See `EventLog.open`. */
  open(onMore: () => void): LogReader
}

/** What a front may ask about kernel sessions. Every method throws `CobError` for what a client did wrong. */
export interface Sessions {
  /** The log tells which request created it. */
  create(
    owner: Owner,
    request: CreateKernel,
    requestId?: string,
  ): Promise<{ kernelId: string; created: boolean }>
  list(owner: Owner): Promise<KernelInfo[]>
  info(owner: Owner, kernelId: string): Promise<KernelInfo>
  /** Starts code, supplies awaited input, or fetches the next part of an execution (spec/api.md, "Running code"). */
  run(owner: Owner, kernelId: string, request: RunCode, options: RunOptions): Promise<RunResult>
  /** What `run` does; the answer is what happens from then on. */
  follow(owner: Owner, kernelId: string, request: RunCode): EventSource
  /** State and output so far of one of the last executions, by its id or codeId. */
  execution(owner: Owner, kernelId: string, executionId: string): RunResult
  /** Its events, those after number `after`. Throws `events-gone` where they are not kept any more. */
  events(owner: Owner, kernelId: string, executionId: string, after: number | undefined): EventSource
  /** See `Session.interrupt`. */
  interrupt(owner: Owner, kernelId: string, executionId?: string): Promise<void>
  /** Supplies what the running code asks for. Throws `not-waiting`. */
  input(owner: Owner, kernelId: string, text: string, executionId?: string): void
  complete(owner: Owner, kernelId: string, question: Question): Promise<Completion>
  inspect(owner: Owner, kernelId: string, question: Question): Promise<Inspection>
  /** Resolves when a new interpreter answers. */
  restart(owner: Owner, kernelId: string): Promise<void>
  /** The files in the session's working directory. */
  files(owner: Owner, kernelId: string): Files
  /** Throws `too-many-terminals`. */
  openTerminal(owner: Owner, kernelId: string, size: TerminalSize): Promise<Terminal>
  /** Tells what becomes of a session, first that it has started; returns how to stop that. Throws `too-many-watchers`. */
  watch(owner: Owner, kernelId: string, watcher: (event: SessionEvent) => void): () => void
  /** The session is in use: its idle time starts anew. */
  touch(owner: Owner, kernelId: string): void
  /** Resolves when nothing of the session runs any more. */
  destroy(owner: Owner, kernelId: string): Promise<void>
  /** Those of all owners. */
  listAll(): Promise<{ owner: Owner; info: KernelInfo }[]>
  /** Whoever's it is. Resolves when nothing of it runs any more. */
  destroyAny(kernelId: string): Promise<void>
  /** What the owner's sessions use together, counting those that start or end. */
  inUse(owner: Owner): InUse
  /** Of all owners. */
  count(): number
  readonly drain: Drain
  /** Begins to keep sandboxes warm. Resolves when one of each configured kernel type is, or could not be made. */
  warmUp(): Promise<void>
  /** How many there are, by kernel type and state. */
  census(): SessionCount[]
  /** What is kept warm, by kernel type. */
  warm(): Promise<WarmFigures[]>
  close(): Promise<void>
}
