import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import type { Logger } from '../../observe/logger.ts'
import { type Identity, isAlive } from './processes.ts'

/** Pseudoterminals of one sandbox; the kernel has room for some 3000 in all of them. */
const MAX_TERMINALS = 64
const NSENTER = '/usr/bin/nsenter'
const MOUNT = '/usr/bin/mount'
/** As bubblewrap mounts it, and `max`: what is not named here would be reset. */
const OPTIONS = `remount,nosuid,noexec,mode=0620,ptmxmode=0666,max=${MAX_TERMINALS}`

/** Bounds the pseudoterminals of the sandbox whose first process this is, before code of users runs in it. */
export type LimitTerminals = (inner: Identity) => Promise<void>

/**
 * Bounds them where the kernel counts them: in each sandbox's own file system of terminals. Looking from outside would not do, as a
 * terminal whose master is closed, or whose descriptor is under way in a socket, shows nowhere. A host that cannot do it for the first
 * sandbox is warned about; from then on, a failure is one.
 */
export function createTerminalLimit(log: Logger): LimitTerminals {
  let isPossible: boolean | undefined
  return async (inner) => {
    if (isPossible === false) return
    try {
      await remount(inner)
      isPossible = true
    } catch (error) {
      if (isPossible) throw error
      isPossible = false
      log.warn({ err: error }, 'pseudoterminals of sandboxes are not bounded on this host')
    }
  }
}

async function remount(inner: Identity): Promise<void> {
  const namespace = openSync(`/proc/${inner.pid}/ns/mnt`, 'r')
  try {
    // Held from here on: nothing of another process that gets the same id is touched.
    if (!isAlive(inner)) throw new Error('the sandbox has ended')
    const child = spawn(
      NSENTER,
      [
        '--mount=/proc/self/fd/3',
        '--',
        MOUNT,
        '-i',
        '-n',
        '-t',
        'devpts',
        '-o',
        OPTIONS,
        'devpts',
        '/dev/pts',
      ],
      { env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'ignore', namespace] },
    )
    const [status, signal] = await once(child, 'exit')
    if (status !== 0) throw new Error(`${MOUNT} of /dev/pts ended with ${status ?? signal}`)
  } finally {
    closeSync(namespace)
  }
}
