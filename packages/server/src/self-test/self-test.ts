import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, readlinkSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import path from 'node:path'
import type { Network } from '@cob/protocol'
import { z } from 'zod'
import type { Check } from '../backend/check.ts'
import type { Sessions } from '../sessions/sessions.ts'

export interface SelfTestOptions {
  /** Those that the self-test alone uses, limited as it likes. */
  readonly sessions: Sessions
  /** Must not show inside. */
  readonly dataDir: string
  /** Processes a session may have. */
  readonly processes: number
  /** Sizes of what a session can write to, in bytes, by path. */
  readonly storage: Readonly<Record<string, number>>
}

const OWNER = 'self-test'
/** Seen inside. */
const INTERFACES: Readonly<Record<Network, readonly string[]>> = { none: ['lo'], egress: ['lo', 'tap0'] }
/** Never to be reached: the metadata services of clouds, private networks, the host as the tool for egress would show it. */
const CLOSED = [
  '169.254.169.254',
  'fd00:ec2::254',
  '10.0.2.2',
  '10.1.2.3',
  '172.17.0.1',
  '192.168.1.1',
  '100.100.100.200',
]
const PROBES = readFileSync(path.join(import.meta.dirname, 'probes.py'), 'utf8')
const FIX =
  'Serve nobody you do not trust from this machine until this is mended. If the kernel, bubblewrap and Cob are up to date, report it as SECURITY.md says.'

/** Numbers of calls that the filter must refuse, by Node's names of architectures (Linux: unistd.h). */
const SYSTEM_CALLS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  x64: {
    ...{ ptrace: 101, mount: 165, add_key: 248, keyctl: 250, unshare: 272, perf_event_open: 298 },
    ...{ process_vm_readv: 310, bpf: 321, userfaultfd: 323, io_uring_setup: 425 },
  },
  arm64: {
    ...{ ptrace: 117, mount: 40, add_key: 217, keyctl: 219, unshare: 97, perf_event_open: 241 },
    ...{ process_vm_readv: 270, bpf: 280, userfaultfd: 282, io_uring_setup: 425 },
  },
}
const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts']

/** What a limit that the operator allowed to be missing would have stopped. */
const NEEDS: Readonly<Record<string, string>> = {
  memory: 'memory bomb',
  processes: 'fork bomb',
  'system calls': 'forbidden calls',
}

const resultSchema = z.record(z.string(), z.object({ ok: z.boolean(), detail: z.string() }))

/**
 * Makes a session as any user would and tries from inside what must not be possible. Findings that are not ok
 * are holes. Limits that the session's `isolation` names as not enforced are not tried. Rejects when no session can be made.
 */
export async function selfTest(options: SelfTestOptions): Promise<Check[]> {
  const { sessions } = options
  const { kernelId } = await sessions.create(OWNER, { lang: 'python3' })
  const { isolation, maxMem } = await sessions.info(OWNER, kernelId)
  const bait = await openBait()
  try {
    const calls = SYSTEM_CALLS[process.arch] ?? {}
    const given = {
      dataDir: options.dataDir,
      listeners: bait.addresses,
      interfaces: INTERFACES[isolation.network],
      closed: [...CLOSED, ...ownAddresses()],
      abstract: bait.abstract,
      memoryBytes: maxMem * 1024,
      processes: options.processes,
      storage: options.storage,
      systemCalls: calls,
      namespaces: readNamespaces(),
      unshare: calls.unshare ?? 0,
      leaveOut: isolation.unenforced.map((limit) => NEEDS[limit]),
    }
    const code = `import json\nGIVEN = json.loads(${JSON.stringify(JSON.stringify(given))})\n${PROBES}`
    const { stdout, exceptions, reason } = await sessions.run(OWNER, kernelId, { code }, {})
    return toChecks(stdout) ?? [toFailed(exceptions[0]?.[3].join('') ?? `it ended: ${reason}`)]
  } finally {
    bait.close()
    await sessions.destroy(OWNER, kernelId).catch(() => {})
  }
}

/** This machine's, but for loopback, which is another one inside. */
function ownAddresses(): string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  // A link-local address means nothing without its interface.
  return interfaces
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address)
}

/** The server's own, by name, as namespaces(7) tells them apart. */
function readNamespaces(): Record<string, string> {
  return Object.fromEntries(NAMESPACES.map((name) => [name, readlinkSync(`/proc/self/ns/${name}`)]))
}

function toChecks(stdout: string): Check[] | undefined {
  try {
    const results = resultSchema.parse(JSON.parse(stdout))
    return Object.entries(results).map(([name, result]) =>
      result.ok ? { name, ...result } : { name, ...result, fix: FIX },
    )
  } catch {
    return undefined
  }
}

function toFailed(detail: string): Check {
  return { name: 'self-test', ok: false, detail: `the probes could not be run: ${detail}`, fix: FIX }
}

/** Listeners on the host that nothing inside may reach. */
async function openBait(): Promise<{ addresses: [string, number][]; abstract: string; close(): void }> {
  const abstract = `cob-${randomBytes(8).toString('hex')}`
  const servers: Server[] = []
  const addresses: [string, number][] = []
  for (const host of ['127.0.0.1', '::1']) {
    const server = createServer((socket) => socket.destroy()).listen(0, host)
    try {
      await once(server, 'listening')
      servers.push(server)
      addresses.push([host, (server.address() as AddressInfo).port])
    } catch {
      // A host without this version of IP has no such address to be reached at.
    }
  }
  const socket = createServer((client) => client.destroy()).listen(`\0${abstract}`)
  await once(socket, 'listening')
  return {
    addresses,
    abstract,
    close: () => {
      for (const server of [...servers, socket]) server.close()
    },
  }
}
