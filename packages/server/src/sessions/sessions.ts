import type { CreateKernel, KernelInfo, RunCode, RunResult } from '@cob/protocol'
import type { Files } from './files.ts'

/** Who owns a session: the access key that created it. */
export type Owner = string

interface RunOptions {
  /** Answer with what there is after this many ms; undefined: wait for the end. */
  readonly waitMs?: number | undefined
  /** Aborts the waiting, not the execution. */
  readonly signal?: AbortSignal | undefined
  /** Resolves when the answer has left this process; what it contains counts as the owner's until then. */
  readonly sent?: Promise<void> | undefined
}

/** What a front may ask about kernel sessions. Every method throws `CobError` for what a client did wrong. */
export interface Sessions {
  create(owner: Owner, request: CreateKernel): Promise<{ kernelId: string; created: boolean }>
  list(owner: Owner): KernelInfo[]
  info(owner: Owner, kernelId: string): KernelInfo
  /** Starts code, supplies awaited input, or fetches the next part of an execution (spec/api.md, "Running code"). */
  run(owner: Owner, kernelId: string, request: RunCode, options: RunOptions): Promise<RunResult>
  /** Raises KeyboardInterrupt or its like in the running code. Throws `nothing-runs`. */
  interrupt(owner: Owner, kernelId: string): Promise<void>
  /** Resolves when a new interpreter answers. */
  restart(owner: Owner, kernelId: string): Promise<void>
  /** The files in the session's working directory. */
  files(owner: Owner, kernelId: string): Files
  /** Resolves when nothing of the session runs any more. */
  destroy(owner: Owner, kernelId: string): Promise<void>
  close(): Promise<void>
}
