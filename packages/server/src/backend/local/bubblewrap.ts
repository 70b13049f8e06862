import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Network } from '@cob/protocol'
import type { Profile } from '../backend.ts'
import {
  type ProcessLimits,
  type StorageLimits,
  toBubblewrapArguments,
  toFirstCommand,
} from './bubblewrap-arguments.ts'
import { inNetworkNamespace } from './egress.ts'
import type { Layer } from './layers.ts'
import type { RootLayout } from './root-files.ts'

// Below 10: a POSIX shell redirects no higher descriptor.
const ARGS_FD = 4
const INFO_FD = 5
const READY_FD = 6
const NETWORK_FD = 7
const FIRST_FILE_FD = 8

const STDERR_BYTES = 4096
const INFO_BYTES = 4096
const LAST_WORDS_MS = 200

/** A bubblewrap process that waits for its arguments: it has made no namespace and run nothing yet. */
export interface HeldBubblewrap {
  /** The outer process, outside the sandbox, that lives as long as the sandbox. */
  readonly pid: number
  /** Resolves when the outer process is gone and reaped. */
  readonly exited: Promise<void>
  /** Resolves when the process is in the network namespace it was asked to have. Only then `release` it. */
  readonly hasNetwork: Promise<void>
  /**
   * Lets it go, with these rules for that namespace. Resolves with the host's pid of the sandbox's first process once that one is about to
   * become the agent. Rejects with what bubblewrap said.
   */
  release(networkRules: string): Promise<{ innerPid: number }>
  readonly kill: () => void
}

export interface BubblewrapHost {
  readonly bwrapPath: string
  readonly layout: RootLayout
  readonly storage: StorageLimits
  readonly processLimits: ProcessLimits
  readonly dieWithParent: boolean
  /** The file of the system call filter. */
  readonly seccompFilter: string | undefined
  readonly without: ReadonlySet<Layer>
  /** Descriptors this process would pass on by accident; see `findInheritableDescriptors`. */
  readonly inheritable: readonly number[]
}

/**
 * Starts bubblewrap for a profile, held. Reading its options from a pipe that is still empty is what holds it,
 * so that the caller can move it to its cgroup before there is anything to escape from. Should this
 * server die meanwhile, the pipe ends, and without options bubblewrap has no file system to run from.
 */
export async function spawnBubblewrap(
  host: BubblewrapHost,
  options: {
    readonly profile: Profile
    readonly network: Network
    readonly listeningFd: number
    readonly uid: number | undefined
    /** At most inside, threads too. */
    readonly processes: number
  },
): Promise<HeldBubblewrap> {
  const { profile, network, uid } = options
  const { seccompFilter, without } = host
  const sources = [...host.layout.files, ...host.layout.networkFiles[network], ...profile.files]
  const opened: number[] = []
  const open = (path: string): number => {
    const fd = openSync(path, 'r')
    opened.push(fd)
    return fd
  }
  try {
    // Fresh descriptors each time: their offset is shared with the process that reads them.
    const fds = sources.map(({ source }) => open(source))
    const seccompFd =
      seccompFilter === undefined ? undefined : FIRST_FILE_FD + fds.push(open(seccompFilter)) - 1
    const stdio: StdioOptions = [
      ...(['ignore', 'ignore', 'pipe'] as const),
      options.listeningFd,
      ...(['pipe', 'pipe', 'pipe'] as const),
      network === 'egress' ? 'pipe' : 'ignore',
      ...fds,
    ]
    for (const fd of host.inheritable) {
      while (stdio.length <= fd) stdio.push('ignore')
      if (fd >= FIRST_FILE_FD + fds.length) stdio[fd] = open('/dev/null')
    }
    const args = toBubblewrapArguments({
      layout: host.layout,
      storage: host.storage,
      files: sources.map(({ path }, index) => ({ path, fd: FIRST_FILE_FD + index })),
      seccompFd,
      infoFd: INFO_FD,
      dieWithParent: host.dieWithParent,
      keepsNetwork: network === 'egress',
      without,
    })
    const processes = uid === undefined || without.has('processes-limit') ? undefined : options.processes
    const processLimits = without.has('resource-limits') ? undefined : { ...host.processLimits, processes }
    const first = toFirstCommand(profile.argv, processLimits, { readyFd: READY_FD, unusedFd: NETWORK_FD })
    const bubblewrap = [host.bwrapPath, '--args', String(ARGS_FD), '--', ...first]
    const command = network === 'egress' ? inNetworkNamespace(NETWORK_FD, bubblewrap) : bubblewrap
    const child = spawn(String(command[0]), command.slice(1), {
      cwd: '/',
      // A group of its own: ctrl-C at the server's terminal is for the server, which then ends its sessions.
      detached: true,
      // It would show in /proc/1/environ inside.
      env: without.has('empty-environment') ? process.env : {},
      stdio,
      ...(uid === undefined ? {} : { uid, gid: uid }),
    })
    return await toHeld(child, args)
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

async function toHeld(child: ChildProcess, args: readonly string[]): Promise<HeldBubblewrap> {
  const { pid } = child
  if (pid === undefined) {
    throw await new Promise<Error>((resolve) => child.once('error', resolve))
  }
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  // From a kill() that fails, for one; the exit is what counts.
  child.on('error', () => {})
  // Node's type knows the first five.
  const pipes: readonly unknown[] = child.stdio
  const argsPipe = pipes[ARGS_FD] as Writable
  argsPipe.on('error', () => {}) // It died; its exit tells.
  const stderr = readBounded(child.stderr, STDERR_BYTES, () => false)
  const info = readBounded(pipes[INFO_FD], INFO_BYTES, (text) => text.includes('}'))
  const readyPipe = pipes[READY_FD] as Duplex
  const ready = readBounded(readyPipe, INFO_BYTES, (text) => text.includes('\n'))
  const network = pipes[NETWORK_FD] as Duplex | null
  network?.on('error', () => {})
  void exited.then(() => {
    argsPipe.destroy()
    network?.destroy()
    // A child that it has not let go yet waits for ever, and its pipes do not end; what was said has been read by then.
    setTimeout(() => {
      for (const pipe of [stderr, info, ready]) pipe.stop()
    }, LAST_WORDS_MS).unref()
  })
  return {
    pid,
    exited,
    kill: () => void child.kill('SIGKILL'),
    hasNetwork: new Promise((resolve) => {
      if (network) network.once('data', () => resolve())
      else resolve()
    }),
    async release(networkRules) {
      network?.end(networkRules)
      argsPipe.end(args.map((arg) => `${arg}\0`).join(''))
      const [infoText, readyText] = await Promise.all([info.text, ready.text])
      const innerPid = Number(/"child-pid":\s*(\d+)/.exec(infoText)?.[1])
      const hasEnded = child.exitCode !== null || child.signalCode !== null
      if (readyText === '' || !Number.isInteger(innerPid) || hasEnded) {
        ready.stop()
        await exited
        const said = (await stderr.text).trim()
        throw new Error(
          `bubblewrap could not make the sandbox: ${said || `it ended with ${child.exitCode ?? child.signalCode}`}`,
        )
      }
      stderr.stop()
      readyPipe.end('go\n')
      return { innerPid }
    },
  }
}

/** What a stream says until `isDone` or its end, whichever is first, or `stop()`; of it the first `maxBytes`. */
function readBounded(
  stream: unknown,
  maxBytes: number,
  isDone: (text: string) => boolean,
): { text: Promise<string>; stop(): void } {
  // Made as a pipe by spawn above.
  const readable = stream as Readable
  let text = ''
  const whole = new Promise<string>((resolve) => {
    readable.setEncoding('utf8')
    readable.on('data', (chunk: string) => {
      text = (text + chunk).slice(0, maxBytes)
      if (isDone(text)) resolve(text)
    })
    readable.on('error', () => {})
    readable.once('close', () => resolve(text))
  })
  return { text: whole, stop: () => void readable.destroy() }
}
