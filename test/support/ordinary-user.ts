import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { parseOwnCgroups } from '../../packages/server/src/backend/local/cgroup-mounts.ts'
import { CGROUP_V1_CONTROLLERS } from '../../packages/server/src/backend/local/cgroup-v1.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
/** Nobody's. */
const UID = 61_234

/** A user without rights who may use `cob`, with cgroups of their own to make groups in, or without. */
export interface OrdinaryUser {
  /** Their home: empty. */
  readonly home: string
  /** Starts `cob` with these arguments. */
  spawn(
    args: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): ChildProcessByStdio<null, Readable, Readable>
  /** How many processes run as this user, or as one in a namespace of theirs. One that has ended and is not reaped does not. */
  processes(): number
  remove(): Promise<void>
}

/** Needs root. `delegated` is what a systemd service with Delegate=yes has: cgroups that belong to the user. */
export function makeOrdinaryUser({ delegated }: { readonly delegated: boolean }): OrdinaryUser {
  const home = mkdtempSync(path.join(tmpdir(), 'cob-user-'))
  chownSync(home, UID, UID)
  const groups = delegated ? delegate(path.basename(home)) : []
  // Where the checkout is, this user may not be able to go.
  const view = path.join(home, 'cob')
  mkdirSync(view)
  const script = [
    'mount --bind "$1" "$2"',
    ...groups.map((dir) => `echo $$ > "${dir}/cgroup.procs"`),
    'home=$3; cd "$2"; shift 3',
    `exec env -i HOME="$home" PATH=/usr/bin:/bin setpriv --reuid ${UID} --regid ${UID} --clear-groups --inh-caps=-all "$@"`,
  ].join('\n')
  return {
    home,
    spawn(args, environment = {}) {
      const settings = { COB_PORT: '0', COB_LOG_LEVEL: 'warn', ...environment }
      const assignments = Object.entries(settings).map(([name, value]) => `${name}=${value}`)
      const node = path.join(view, path.relative(ROOT, process.execPath))
      const command = ['env', ...assignments, node, path.join(view, 'packages/cli/src/main.ts'), ...args]
      return spawn('unshare', ['--mount', 'sh', '-e', '-c', script, 'sh', ROOT, view, home, ...command], {
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    },
    processes: () => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isOf(name)).length,
    async remove() {
      for (const dir of groups) await removeTree(dir)
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** One group in every hierarchy this process is in, given to the user. */
function delegate(name: string): string[] {
  const own = parseOwnCgroups(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    readFileSync('/proc/self/cgroup', 'utf8'),
  )
  const wanted = own.filter(
    ({ version, controllers }) => version === 2 || controllers.some((each) => each in CGROUP_V1_CONTROLLERS),
  )
  return wanted.map(({ dir }) => {
    const group = path.join(dir, name)
    mkdirSync(group)
    execFileSync('chown', ['-R', `${UID}:${UID}`, group])
    return group
  })
}

async function removeTree(dir: string): Promise<void> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(path.join(dir, entry.name))
  }
  for (let left = 50; ; left--) {
    try {
      return rmdirSync(dir)
    } catch (error) {
      if (left === 0) throw error
      await delay(20)
    }
  }
}

function isOf(pid: string): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return status.includes(`\nUid:\t${UID}\t`) && !status.includes('\nState:\tZ')
  } catch {
    return false
  }
}
