import { randomUUID } from 'node:crypto'
import { duplexPair } from 'node:stream'
import type { Backend, Sandbox, SandboxLimits, Usage } from '../../packages/server/src/backend/backend.ts'
import { createFakeAgent, type FakeAgent } from './fake-agent.ts'

export interface FakeSandbox extends Sandbox {
  readonly agent: Pick<FakeAgent, 'serve' | 'disconnect' | 'stop' | 'forget'>
  readonly hasEnded: boolean
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
  /** From now on it is as in a process that was killed: nothing is done or answered. */
  crash(): void
}

/** What happens inside a sandbox may end it, or have something of it killed for memory. */
export type MakeFakeAgent = (onDeath: (why: 'crash' | 'oom') => void, end: () => void) => FakeSandbox['agent']

/**
 * A backend in memory, for tests of what is above the port. Preparing and destroying take a few turns of the event loop. `machine` holds the
 * sandboxes: another backend on it can adopt them.
 */
export function createFakeBackend(
  machine: Map<string, FakeSandbox> = new Map(),
  makeAgent: MakeFakeAgent = createFakeAgent,
): FakeBackend {
  const live = machine
  let isClosed = false
  let isCrashed = false
  const forEver = new Promise<never>(() => {})
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
    crash() {
      isCrashed = true
    },
    async prepare({ name }) {
      await turns()
      if (isCrashed) return forEver
      const failure = isClosed ? new Error('the backend is closed') : backend.failNext
      backend.failNext = undefined
      if (failure) throw failure
      if (name === 'broken') throw new Error('there is no such profile')
      const exited = Promise.withResolvers<void>()
      const usage = { ...backend.reportedUsage }
      let hasEnded = false
      const end = (): void => {
        hasEnded = true
        exited.resolve()
      }
      const agent = makeAgent((why) => {
        if (why === 'oom') usage.oomKills++
      }, end)
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
        get hasEnded() {
          return hasEnded
        },
        end,
      }
      live.set(sandbox.id, sandbox)
      return sandbox
    },
    describe: ({ id }) => ({ id }),
    async adopt(description) {
      await turns()
      const found = live.get(String(Object(description).id))
      if (!found) throw new Error('nothing is left of it')
      return found
    },
    async assign(sandbox, limits) {
      await turns()
      known(sandbox).limits = limits
    },
    async connect(sandbox) {
      await turns()
      if (isCrashed) return forEver
      const { agent, hasEnded } = known(sandbox)
      if (hasEnded) throw new Error('it has ended')
      const [ours, theirs] = duplexPair()
      agent.serve(theirs)
      // As a socket does.
      ours.once('end', () => ours.destroy())
      return ours
    },
    usage: async (sandbox) => ({ ...known(sandbox).usage }),
    freeMemory: async (sandbox) => 50_000_000 - known(sandbox).usage.memoryBytes,
    peakMemory: async (sandbox) => known(sandbox).usage.memoryBytes,
    async destroy(sandbox) {
      if (isCrashed) return forEver
      const found = live.get(sandbox.id)
      if (!found) return
      found.agent.stop()
      await turns()
      live.delete(sandbox.id)
      found.end()
    },
    async close(keep = []) {
      isClosed = true
      const ending = [...live.values()].filter((sandbox) => !keep.includes(sandbox))
      await Promise.all(ending.map((sandbox) => backend.destroy(sandbox)))
    },
  }
  return backend
}

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate)
}
