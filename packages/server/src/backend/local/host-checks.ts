import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Check } from '../check.ts'
import type { CgroupProbe } from './cgroup-probe.ts'

const BWRAP_PLACES = ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap']
/** The first release with `--disable-userns`. */
const BWRAP_LEAST = '0.8.0'
const LIMIT_FIX =
  'Run the server as root, or as a systemd service with Delegate=yes (systemd-run --user --scope -p Delegate=yes npm start), or in a container with a writable cgroup file system.'

/** Where bubblewrap is; the place it is looked for first when it is nowhere. */
export function findBubblewrap(wanted: string | undefined): string {
  const places = wanted === undefined ? BWRAP_PLACES : [wanted]
  return places.find((path) => existsSync(path)) ?? String(places[0])
}

export function checkBubblewrap(path: string): Check {
  const name = 'bubblewrap'
  const fix = 'Install it: apt-get install bubblewrap, dnf install bubblewrap, or apk add bubblewrap.'
  if (!existsSync(path)) return { name, ok: false, detail: `not at ${path}`, fix }
  try {
    const version = execFileSync(path, ['--version'], { encoding: 'utf8', env: {} })
      .replace(/^\D*/, '')
      .trim()
    const ok = version.localeCompare(BWRAP_LEAST, 'en', { numeric: true }) >= 0
    const detail = `${path} ${version}`
    return ok
      ? { name, ok, detail }
      : { name, ok, detail: `${detail}; ${BWRAP_LEAST} or later is needed`, fix }
  } catch (error) {
    return { name, ok: false, detail: `${path} does not run: ${toText(error)}`, fix }
  }
}

/** The program of the system call filter for this machine, see seccomp/build.py. */
export const SECCOMP_FILTER: string = join(import.meta.dirname, 'seccomp', `${process.arch}.bpf`)

export function checkSeccomp(): Check {
  const name = 'system calls'
  if (existsSync(SECCOMP_FILTER)) return { name, ok: true, detail: `seccomp allow-list for ${process.arch}` }
  return {
    name,
    ok: false,
    detail: `there is no seccomp filter for ${process.arch}`,
    fix: 'Use a machine with an x86-64 or arm64 processor.',
  }
}

export function checkUids(range: { readonly base: number; readonly count: number } | undefined): Check {
  const detail = range
    ? `an own host uid for each session, ${range.base} to ${range.base + range.count - 1}`
    : `all sessions share the server's uid, ${process.getuid?.()}, in user namespaces of their own; run it as root for own uids`
  return { name: 'host uid', ok: true, detail }
}

/** One for each resource that cgroups limit. */
export function checkCgroups({ enforcement, problems }: CgroupProbe): Check[] {
  return Object.entries(enforcement).map(([resource, detail]) => {
    const name = `${resource} limit`
    const problem = problems.find((each) => each.resource === resource)
    return problem ? { name, ok: false, detail: problem.reason, fix: LIMIT_FIX } : { name, ok: true, detail }
  })
}

/** What all sandboxes may have together, as far as it is limited at all. */
export function checkTotals(
  { problems }: CgroupProbe,
  { memoryBytes, processes }: { readonly memoryBytes: number; readonly processes: number },
): Check {
  const isLimited = (resource: string): boolean => problems.every((each) => each.resource !== resource)
  const limits = [
    ...(isLimited('memory') ? [`${Math.floor(memoryBytes / 1024 / 1024)} MiB of memory`] : []),
    ...(isLimited('processes') ? [`${processes} processes`] : []),
  ]
  const detail = limits.length > 0 ? `at most ${limits.join(' and ')}` : 'not limited'
  return { name: 'all sessions together', ok: true, detail }
}

/** That a sandbox could be made, or why not. */
export function checkSandbox(error?: unknown): Check {
  const name = 'sandbox'
  if (error === undefined) return { name, ok: true, detail: 'can be made and destroyed' }
  const detail = toText(error)
  return { name, ok: false, detail, fix: toAdvice(detail) }
}

function toAdvice(said: string): string {
  const restricted = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns'
  if (existsSync(restricted) && readFileSync(restricted, 'utf8').trim() === '1') {
    return 'AppArmor may forbid it, as on Ubuntu 24.04 and later: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give bwrap an AppArmor profile with "userns,".'
  }
  if (/namespace|clone|permitted|uid map/i.test(said)) {
    return 'User namespaces must be allowed: sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone must not be 0; in a container, see "In a container" in docs/operations.md for the options it takes.'
  }
  return 'What bubblewrap said is above; bwrap --version must tell 0.8.0 or later.'
}

function toText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
