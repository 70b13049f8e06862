import type { Network } from '@cob/protocol'
import { CobError } from '../../errors.ts'
import type { Backend, Profile, Sandbox } from '../backend.ts'
import { toError } from '../check.ts'
import { parseDescription } from './description.ts'
import { checkEgress } from './egress.ts'
import { type HostOptions, openHost } from './host.ts'
import { checkSandbox } from './host-checks.ts'
import { createLocalSandbox, type LocalSandbox } from './local-sandbox.ts'

const START_TIMEOUT_MS = 90_000
const RETRY_MS = 5000

/**
 * Makes sandboxes on this machine with bubblewrap and cgroups, after trying everything that needs, ending with a
 * whole sandbox. Rejects, saying what to do, as {@link openHost} does and when no user namespace can be had.
 */
export async function createLocalBackend(options: HostOptions): Promise<Backend> {
  const { log, onCheck = () => {} } = options
  const host = await openHost(options)
  const live = new Map<string, LocalSandbox>()
  let closing: Promise<void> | undefined
  try {
    const find = (sandbox: Sandbox): LocalSandbox => {
      const found = live.get(sandbox.id)
      if (!found) throw new Error(`sandbox ${sandbox.id} is not, or no longer, one of this backend's`)
      return found
    }
    const destroy = async (sandbox: LocalSandbox): Promise<void> => {
      try {
        await sandbox.destroy()
        live.delete(sandbox.id)
      } catch (error) {
        log.error({ sandbox: sandbox.id, err: error }, 'a sandbox could not be destroyed completely')
        // What hinders it may pass; whoever waits is told now.
        const again = (): void => {
          if (!closing && live.has(sandbox.id)) destroy(sandbox).catch(() => {})
        }
        setTimeout(again, RETRY_MS).unref()
        throw error
      }
    }
    const prepare = async (profile: Profile, network: Network = 'none'): Promise<LocalSandbox> => {
      if (closing) throw new Error('the local backend is closed')
      if (network === 'egress') assertEgress()
      const sandbox = createLocalSandbox(host, { profile, network })
      live.set(sandbox.id, sandbox)
      const timer = setTimeout(() => void destroy(sandbox).catch(() => {}), START_TIMEOUT_MS)
      try {
        await sandbox.started
        return sandbox
      } catch (error) {
        await destroy(sandbox)
        throw error
      } finally {
        clearTimeout(timer)
      }
    }

    const adopt = async (description: unknown): Promise<LocalSandbox> => {
      const described = parseDescription(description)
      if (!described) throw new Error('this describes no sandbox of the local backend')
      if (closing || live.has(described.id)) throw new Error(`sandbox ${described.id} cannot be adopted now`)
      const sandbox = createLocalSandbox(host, { adopt: described })
      live.set(sandbox.id, sandbox)
      try {
        await sandbox.started
        return sandbox
      } catch (error) {
        await destroy(sandbox)
        throw error
      }
    }

    // Nothing else tells whether this host lets us.
    const tried = await prepare({ name: 'probe', argv: ['/bin/sleep', '60'], files: [] })
      .then(destroy)
      .then(() => checkSandbox(), checkSandbox)
    onCheck(tried)
    if (!tried.ok) throw toError('No sandbox can be made on this host.', [tried])
    return {
      name: 'local',
      prepare,
      adopt,
      describe: (sandbox) => find(sandbox).describe(),
      assign: async (sandbox, limits) => find(sandbox).limit(limits),
      connect: async (sandbox) => find(sandbox).connect(),
      usage: async (sandbox) => find(sandbox).usage(),
      freeMemory: async (sandbox) => find(sandbox).freeMemory(),
      peakMemory: async (sandbox) => find(sandbox).peakMemory(),
      async destroy(sandbox) {
        const found = live.get(sandbox.id)
        if (found) await destroy(found)
      },
      close(keep = []) {
        closing ??= (async () => {
          for (const { id } of keep) live.delete(id)
          const results = await Promise.allSettled([...live.values()].map(destroy))
          await host.close()
          const failed = results.filter((result) => result.status === 'rejected')
          if (failed.length > 0) {
            throw new AggregateError(
              failed.map(({ reason }) => reason),
              `${failed.length} sandboxes could not be destroyed`,
            )
          }
        })()
        return closing
      },
    }
  } catch (error) {
    await host.close()
    throw error
  }
}

/** Looks again each time: the tools may have been installed since. */
function assertEgress(): void {
  const { ok, detail, fix } = checkEgress(true)
  if (!ok) throw CobError.of('network-unavailable', { problem: `${detail}. ${fix}` })
}
