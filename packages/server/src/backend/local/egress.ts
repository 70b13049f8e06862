import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { CobError } from '../../errors.ts'
import type { Check } from '../check.ts'
import { toEgressRules } from './egress-rules.ts'
import { readHostRanges } from './host-addresses.ts'

const NFT = '/usr/sbin/nft'
const SETPRIV = '/usr/bin/setpriv'
const SLIRP = '/usr/bin/slirp4netns'
const UNSHARE = '/usr/bin/unshare'
const TUN = '/dev/net/tun'
const TOOLS: readonly (readonly [string, string])[] = [
  [SLIRP, 'slirp4netns'],
  [NFT, 'nftables'],
  [UNSHARE, 'util-linux'],
  [SETPRIV, 'util-linux'],
]

const READY_FD = 3
const EXIT_FD = 4
/** Waits to be moved to its cgroup; nobody need be there to read its complaints. */
const HELD = 'trap \'\' PIPE; read -r go || exit 1; exec "$@" </dev/null'
const START_TIMEOUT_MS = 10_000

/** Whether sessions can have a network here; not having it is a fault only where it is `wanted`. */
export function checkEgress(wanted: boolean): Check {
  const name = 'network egress'
  const missing = TOOLS.filter(([path]) => !existsSync(path))
  if (missing.length === 0 && isUsable(TUN)) return { name, ok: true, detail: 'slirp4netns with nftables' }
  const packages = [...new Set(missing.map(([, name]) => name))].join(' ')
  const detail =
    missing.length > 0 ? `there is no ${missing.map(([path]) => path).join(', ')}` : `${TUN} cannot be opened`
  const fix = packages
    ? `Install it: apt-get install ${packages}`
    : `Load the module (modprobe tun); for an ordinary user, chmod 666 ${TUN}`
  return wanted ? { name, ok: false, detail, fix } : { name, ok: true, detail: `not possible: ${detail}` }
}

function isUsable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Runs `command` in a user and a network namespace that it has no power over: it starts once the namespace is
 * connected and has its rules, which come through the socket `controlFd`, and without the capabilities that set them.
 */
export function inNetworkNamespace(controlFd: number, command: readonly string[]): string[] {
  const settings = '/proc/sys/net/ipv6/conf/default'
  const script = [
    // An IPv6 address sooner: nobody else can have it, and the router answers at once.
    `{ echo 0 >${settings}/accept_dad; echo 0 >${settings}/router_solicitation_delay; } 2>/dev/null`,
    `echo up >&${controlFd}`,
    // Not from the socket itself, which nft cannot open as a file.
    `/bin/cat <&${controlFd} | ${NFT} -f - || exit 1`,
    `exec ${SETPRIV} --inh-caps=-all --ambient-caps=-all -- "$@" ${controlFd}>&-`,
  ]
  const namespaces = ['--user', '--map-current-user', '--keep-caps', '--net']
  return [UNSHARE, ...namespaces, '--', '/bin/sh', '-c', script.join('\n'), 'sh', ...command]
}

/** The process that carries a session's traffic. */
export interface Egress {
  readonly pid: number
  /** Resolves when the process is gone. */
  end(): Promise<void>
}

export interface EgressOptions {
  /** Of a process in the network namespace. */
  readonly pid: number
  /** Gives the process the limits of the sandbox, before it does anything. */
  readonly join: (pid: number) => Promise<void>
  /** It ends with this process. */
  readonly endWithServer: boolean
}

/**
 * Connects the network namespace of a process to the outside by slirp4netns. Rejects with `network-unavailable` and what slirp4netns
 * said.
 */
export async function openEgress({ pid, join, endWithServer }: EgressOptions): Promise<Egress> {
  const options = [
    '--configure',
    '--mtu=65520',
    '--disable-host-loopback',
    '--enable-seccomp',
    // For an ordinary user it wants a root in the user namespace, and there is none.
    ...(process.getuid?.() === 0 ? ['--enable-sandbox'] : []),
  ]
  const fds = [`--ready-fd=${READY_FD}`, ...(endWithServer ? [`--exit-fd=${EXIT_FD}`] : [])]
  const where = [
    '--enable-ipv6',
    '--netns-type=path',
    `--userns-path=/proc/${pid}/ns/user`,
    `/proc/${pid}/ns/net`,
  ]
  const command = [SLIRP, ...options, ...fds, ...where, 'tap0']
  const child = spawn('/bin/sh', ['-c', HELD, 'sh', ...command], {
    cwd: '/',
    detached: true,
    env: {},
    stdio: ['pipe', 'ignore', 'pipe', 'pipe', endWithServer ? 'pipe' : 'ignore'],
  })
  // It died; that it is not ready tells.
  child.stdin?.on('error', () => {})
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const egress = {
    pid: child.pid ?? 0,
    async end() {
      child.kill('SIGKILL')
      await exited
    },
  }
  try {
    if (child.pid === undefined)
      throw CobError.of('network-unavailable', { problem: 'no process can be started' })
    // Should this server die before, the shell finds nothing to read; later, the cgroup tells whose it is.
    await join(egress.pid)
    child.stdin?.end('go\n')
    await isReady(child, exited)
    return egress
  } catch (error) {
    await egress.end()
    throw error
  }
}

/** Ruleset for a network namespace that is made now. */
export function currentEgressRules(): string {
  return toEgressRules(readHostRanges())
}

async function isReady(child: ChildProcess, exited: Promise<void>): Promise<void> {
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000)
  })
  // A pipe by the options above.
  const ready = once(child.stdio[READY_FD] as Readable, 'data').then(() => true)
  const ended = exited.then(() => false)
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), START_TIMEOUT_MS)
  const timedOut = once(late.signal, 'abort').then(() => false)
  try {
    if (await Promise.race([ready, ended, timedOut])) return
  } finally {
    clearTimeout(timer)
  }
  throw CobError.of('network-unavailable', { problem: `slirp4netns did not connect it: ${said.trim()}` })
}
