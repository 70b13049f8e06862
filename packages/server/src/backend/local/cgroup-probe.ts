import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { SandboxLimits } from '../backend.ts'
import { type CgroupBase, type Controller, createCgroup, RESOURCES, type Resource } from './cgroup.ts'
import { type OwnCgroup, parseOwnCgroups } from './cgroup-mounts.ts'
import { CGROUP_V1_CONTROLLERS } from './cgroup-v1.ts'
import { CGROUP_V2_CONTROLLERS, claimControllers, delegateControllers, SERVER_LEAF } from './cgroup-v2.ts'

/** What this host can enforce, found out by doing it. */
export interface CgroupProbe {
  /** Where groups are made; only hierarchies and controllers that work. */
  readonly bases: readonly CgroupBase[]
  /** How each resource is limited, e.g. "cgroup v1", or "not enforced". */
  readonly enforcement: Readonly<Record<Resource, string>>
  /** What cannot be enforced, and why, in words for a person. */
  readonly problems: readonly { readonly resource: Resource; readonly reason: string }[]
}

const PROBE_LIMITS: SandboxLimits = { memoryBytes: 64 * 1024 * 1024, processes: 7, cpuWeight: 50 }

/** The server's own cgroups: where it was started, not the leaf it may have moved into since. */
export function findOwnCgroups(): OwnCgroup[] {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')
  const own = parseOwnCgroups(mountinfo, readFileSync('/proc/self/cgroup', 'utf8'))
  return own.map((each) =>
    each.version === 2 && basename(each.dir) === SERVER_LEAF ? { ...each, dir: dirname(each.dir) } : each,
  )
}

/**
 * Makes a group called `name` below each of the server's own cgroups and tries every controller on it:
 * sets each limit, reads it back, puts a sleeping process in, removes it. Permission is never inferred
 * from the user id.
 */
export async function probeCgroups(own: readonly OwnCgroup[], name: string): Promise<CgroupProbe> {
  const bases: CgroupBase[] = []
  const reasons = new Map<Resource, string>()
  const onV1 = own.flatMap(({ controllers }) => controllers)
  for (const { version, dir, controllers } of own) {
    const table = version === 1 ? CGROUP_V1_CONTROLLERS : CGROUP_V2_CONTROLLERS
    const known = Object.keys(table).filter((each) => version === 1 || !onV1.includes(each))
    const offered = version === 1 ? controllers : await offerControllers(dir, known)
    const wanted = known.filter((each) => offered.includes(each))
    const base = join(dir, name)
    const note = (names: readonly string[], error: unknown): void => {
      for (const each of names) {
        const resource = table[each]?.resource
        if (resource) reasons.set(resource, error instanceof Error ? error.message : String(error))
      }
    }
    if (version === 2) {
      note(
        known.filter((each) => !wanted.includes(each)),
        `the cgroup ${dir} was made without this controller`,
      )
    }
    if (wanted.length === 0) continue
    try {
      const enabled = version === 1 ? wanted : await delegateControllers(dir, base, wanted)
      note(
        wanted.filter((each) => !enabled.includes(each)),
        `cgroup v2 at ${dir} does not hand down this controller`,
      )
      await mkdir(base, { recursive: true })
      // Without this, old kernels do not count the groups below together.
      if (version === 1) await writeFile(join(base, 'memory.use_hierarchy'), '1').catch(() => {})
      const working: Controller[] = []
      for (const each of enabled) {
        const controller = table[each]
        if (!controller) continue
        try {
          await tryController(base, controller)
          working.push(controller)
        } catch (error) {
          note([each], error)
        }
      }
      if (working.length > 0) bases.push({ dir: base, controllers: working })
      else await rmdir(base)
    } catch (error) {
      note(wanted, error)
    }
  }
  const labels = new Map(bases.flatMap((base) => base.controllers).map((each) => [each.resource, each.label]))
  const enforcement = { memory: '', processes: '', cpu: '' }
  for (const resource of RESOURCES) enforcement[resource] = labels.get(resource) ?? 'not enforced'
  const problems = RESOURCES.filter((resource) => !labels.has(resource)).map((resource) => ({
    resource,
    reason: reasons.get(resource) ?? 'no cgroup controller for it is mounted',
  }))
  return { bases, enforcement, problems }
}

async function tryController(base: string, controller: Controller): Promise<void> {
  const group = await createCgroup([{ dir: base, controllers: [controller] }], 'probe')
  try {
    await group.limit(PROBE_LIMITS)
    if (!controller.holds(join(base, 'probe'), PROBE_LIMITS))
      throw new Error(`${base}: the limit did not hold`)
    const sleeper = spawn('/bin/sleep', ['60'], { stdio: 'ignore', env: {} })
    const gone = once(sleeper, 'exit')
    try {
      if (sleeper.pid === undefined) throw new Error('cannot start /bin/sleep')
      await group.join(sleeper.pid)
      if (!group.pids().includes(sleeper.pid)) throw new Error(`${base}: a process did not stay in its group`)
      group.usage()
    } finally {
      sleeper.kill('SIGKILL')
      await gone
    }
  } finally {
    await group.remove()
  }
}

/** The controllers of a v2 group, after asking for those of `names` that it lacks. */
async function offerControllers(dir: string, names: readonly string[]): Promise<string[]> {
  const missing = names.filter((name) => !readControllers(dir).includes(name))
  if (missing.length > 0) await claimControllers(dir, missing)
  return readControllers(dir)
}

function readControllers(dir: string): string[] {
  try {
    return readFileSync(join(dir, 'cgroup.controllers'), 'utf8').trim().split(' ')
  } catch {
    return []
  }
}
