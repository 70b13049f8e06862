import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'

/** What the sessions of the server on a data folder occupy on the host, counted from outside. */
export interface Footprint {
  readonly processes: number
  readonly cgroups: number
  readonly mounts: number
  readonly runEntries: number
  /** Open in the server, client connections left out. */
  readonly descriptors: number
}

export function footprint(dataDir: string, serverPid: number): Footprint {
  const base = `cob-${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 12)}`
  return {
    processes: listPids().filter((pid) => readOrEmpty(`/proc/${pid}/cgroup`).includes(`/${base}/`)).length,
    cgroups: listFolders('/sys/fs/cgroup').filter((folder) => folder.includes(`/${base}/`)).length,
    // Other tests, and the machine, mount things of their own.
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(dataDir) || line.includes(base)).length,
    runEntries: readdirSync(`${dataDir}/run`).length,
    descriptors: countDescriptors(serverPid),
  }
}

function listPids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
}

function listFolders(dir: string): string[] {
  return foldersIn(dir).flatMap((name) => [`${dir}/${name}`, ...listFolders(`${dir}/${name}`)])
}

/** None where the folder has just gone: other tests run beside this one. */
function foldersIn(dir: string): string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch {
    return []
  }
}

function countDescriptors(pid: number): number {
  const tcp = new Set(
    ['tcp', 'tcp6'].flatMap((table) =>
      readOrEmpty(`/proc/${pid}/net/${table}`)
        .split('\n')
        .slice(1)
        .map((line) => `socket:[${line.trim().split(/\s+/)[9]}]`),
    ),
  )
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => !tcp.has(linkOrEmpty(`/proc/${pid}/fd/${fd}`))).length
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function linkOrEmpty(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return ''
  }
}
