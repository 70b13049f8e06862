import { randomUUID } from 'node:crypto'
import { duplexPair } from 'node:stream'
import type { Backend, Sandbox, SandboxLimits, Usage } from '../../packages/server/src/backend/backend.ts'
import { createFakeAgent, type FakeAgent } from './fake-agent.ts'

interface FakeSandbox extends Sandbox {
  readonly agent: FakeAgent
  readonly usage: { -readonly [K in keyof Usage]: Usage[K] }
  limits: SandboxLimits | undefined
  end(): void
}

export interface FakeBackend extends Backend {
  /** Sandboxes made and not yet destroyed. */
  readonly live: ReadonlyMap<string, FakeSandbox>
  /** What every sandbox made from now on reports as its usage. */
  reportedUsage: Usage
  /** The next `prepare` fails with this. */
  failNext: Error | undefined
}

/** A backend in memory, for tests of what is above the port. Preparing and destroying take a few turns of the event loop. */
export function createFakeBackend(): FakeBackend {
  const live = new Map<string, FakeSandbox>()
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
    async close() {
      await Promise.all([...live.values()].map((sandbox) => backend.destroy(sandbox)))
    },
  }
  return backend
}

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate)
}
