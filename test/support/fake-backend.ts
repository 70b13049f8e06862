import { randomUUID } from 'node:crypto'
import { duplexPair } from 'node:stream'
import type { Backend, Sandbox, SandboxLimits, Usage } from '../../packages/server/src/backend/backend.ts'
import { createFakeAgent, type FakeAgent } from './fake-agent.ts'

export interface FakeSandbox extends Sandbox {
  readonly agent: FakeAgent
  readonly usage: { -readonly [K in keyof Usage]: Usage[K] }
  limits: SandboxLimits | undefined
  end(): void
}

export interface FakeBackend extends Backend {
  /** Sandboxes made and not yet destroyed. */
  readonly live: Map<string, FakeSandbox>
  /** What every sandbox made from now on reports as its usage. */
  reportedUsage: Usage
  /** The next `prepare` fails with this. */
  failNext: Error | undefined
}

/**
 * A backend in memory, for tests of what is above the port. Preparing and destroying take a few turns of the event loop. `machine` holds the
 * sandboxes: another backend on it can adopt them.
 */
export function createFakeBackend(machine: Map<string, FakeSandbox> = new Map()): FakeBackend {
  const live = machine
  const known = (sandbox: Sandbox): FakeSandbox => {
    const found = live.get(sandbox.id)
    if (!found) throw new Error(`no sandbox ${sandbox.id}`)
    return found
  }
  const backend: FakeBackend = {
    name: 'fake',
    live,
    reportedUsage: { memoryBytes: 1_000_000, cpuMs: 10, oomKills: 0, processes: 2 },
    failNext: undefined,
    async prepare() {
      await turns()
      const failure = backend.failNext
      backend.failNext = undefined
      if (failure) throw failure
      const exited = Promise.withResolvers<void>()
      const usage = { ...backend.reportedUsage }
      const agent = createFakeAgent((why) => {
        if (why === 'oom') usage.oomKills++
      })
      const sandbox: FakeSandbox = {
        id: randomUUID(),
        isolation: {
          backend: 'fake',
          user: 'none',
          network: 'none',
          systemCalls: 'all',
          memory: 'not enforced',
          processes: 'not enforced',
          cpu: 'not enforced',
          unenforced: [],
        },
        exited: exited.promise,
        agent,
        usage,
        limits: undefined,
        end: () => exited.resolve(),
      }
      live.set(sandbox.id, sandbox)
      return sandbox
    },
    describe: ({ id }) => ({ id }),
    async adopt(description) {
      await turns()
      // As `describe` has it.
      const found = live.get((description as { id: string }).id)
      if (!found) throw new Error('nothing is left of it')
      return found
    },
    async assign(sandbox, limits) {
      await turns()
      known(sandbox).limits = limits
    },
    async connect(sandbox) {
      await turns()
      const [ours, theirs] = duplexPair()
      known(sandbox).agent.serve(theirs)
      return ours
    },
    usage: async (sandbox) => ({ ...known(sandbox).usage }),
    freeMemory: async (sandbox) => 50_000_000 - known(sandbox).usage.memoryBytes,
    async destroy(sandbox) {
      const found = live.get(sandbox.id)
      if (!found) return
      found.agent.stop()
      await turns()
      live.delete(sandbox.id)
      found.end()
    },
    async close(keep = []) {
      const ending = [...live.values()].filter((sandbox) => !keep.includes(sandbox))
      await Promise.all(ending.map((sandbox) => backend.destroy(sandbox)))
    },
  }
  return backend
}

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate)
}
