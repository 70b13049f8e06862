import { join, posix } from 'node:path'

/** The server's own cgroup in one hierarchy. */
export interface OwnCgroup {
  readonly version: 1 | 2
  /** Its directory. */
  readonly dir: string
  /** Controllers bound to a v1 hierarchy; for v2 they are in `cgroup.controllers`. */
  readonly controllers: readonly string[]
}

/**
 * Finds the cgroup of this process in every mounted hierarchy, from the texts of `/proc/self/mountinfo`
 * (proc_pid_mountinfo(5)) and `/proc/self/cgroup` (cgroups(7)). Systems mix versions: v1 for
 * some controllers, v2 for others or for none.
 */
export function parseOwnCgroups(mountinfo: string, cgroups: string): OwnCgroup[] {
  const found = new Map<string, OwnCgroup>()
  const memberships = cgroups
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => {
      const [, names = '', ...path] = line.split(':')
      return { key: names, path: path.join(':') }
    })
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , root = '', mountPoint = ''] = before.split(' ').map(decodeOctal)
    const [type, , options = ''] = after.split(' ')
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const membership = memberships.find(({ key }) =>
      type === 'cgroup2'
        ? key === ''
        : key !== '' && key.split(',').every((name) => options.split(',').includes(name)),
    )
    if (!membership || found.has(membership.key)) continue
    // In a container the mount may show only a part of the hierarchy.
    const below = posix.relative(root, membership.path)
    if (below === '..' || below.startsWith('../')) continue
    found.set(membership.key, {
      version: type === 'cgroup2' ? 2 : 1,
      dir: join(mountPoint, below),
      controllers: type === 'cgroup2' ? [] : membership.key.split(','),
    })
  }
  return [...found.values()]
}

function decodeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
