import type { Duplex } from 'node:stream'
import type { Isolation, Network } from '@cob/protocol'

/** What runs in a sandbox: the agent and the files it needs. A backend knows no language. */
export interface Profile {
  readonly name: string
  /** The agent's command. It finds its listening socket on descriptor 3. */
  readonly argv: readonly string[]
  /** Files put into the sandbox read-only: `path` inside, `source` on the server's machine. */
  readonly files: readonly { readonly path: string; readonly source: string }[]
}

/** Limits the operating system enforces on all processes of a sandbox together. */
export interface SandboxLimits {
  readonly memoryBytes: number
  readonly processes: number
  /** Relative share of CPU time under contention, as in cgroup v2: 1 to 10,000, usual 100. */
  readonly cpuWeight: number
}

export interface Usage {
  readonly memoryBytes: number
  readonly cpuMs: number
  /** Processes killed so far because the sandbox reached its memory limit. */
  readonly oomKills: number
  readonly processes: number
  /** The sandbox holds more memory than its limit, in a way for which the kernel kills nothing. */
  readonly isOverLimit?: boolean
  /** Nothing holds the sandbox to its limits any more. */
  readonly isUnlimited?: boolean
}

export interface Sandbox {
  readonly id: string
  readonly isolation: Isolation
  /** Resolves, never rejects, once the sandbox's first process is gone, whatever ended it. */
  readonly exited: Promise<void>
}

/** Makes sandboxes. Architecture: "Port: backend". */
export interface Backend {
  readonly name: string
  /** A running sandbox with its agent started, not yet anybody's. It reaches nothing unless a `network` is named. Rejects with a readable error when it cannot be made; nothing is left then. */
  prepare(profile: Profile, network?: Network): Promise<Sandbox>
  /** Applies limits; from here on the sandbox is one session's. */
  assign(sandbox: Sandbox, limits: SandboxLimits): Promise<void>
  /** A byte stream to the agent. May be called again after the last one closed; waits until the agent listens. */
  connect(sandbox: Sandbox): Promise<Duplex>
  /** Figures from the operating system, not from inside the sandbox. Still answers after the processes died, until destroy. */
  usage(sandbox: Sandbox): Promise<Usage>
  /** Bytes the sandbox may still use before something of it is killed; what only caches files counts as free. */
  freeMemory(sandbox: Sandbox): Promise<number>
  /** All that another process needs to `adopt` the sandbox, as JSON; undefined where it ends with this process. */
  describe(sandbox: Sandbox): unknown
  /**
   * A sandbox that another process described, as it is by now: it may have exited. Rejects when nothing of it is left, or when what is
   * left is not it; what is left of it has been destroyed then.
   */
  adopt(description: unknown): Promise<Sandbox>
  /** Most bytes the sandbox has used at once, as far as the host counts that; what is used now at least. Until destroy. */
  peakMemory(sandbox: Sandbox): Promise<number>
  /** Resolves when nothing of the sandbox runs and nothing of it is left on the host. Idempotent. */
  destroy(sandbox: Sandbox): Promise<void>
  /** Ends the backend. Destroys every sandbox, except those to `keep`, which run on for another process to adopt. Idempotent. */
  close(keep?: readonly Sandbox[]): Promise<void>
}
