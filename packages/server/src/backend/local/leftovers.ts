import { readdirSync, readFileSync } from 'node:fs'
import { rename, rmdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readPids, removeGroup } from './cgroup.ts'
import { kill } from './processes.ts'

const SWEEP_MS = 5000

/**
 * Kills and removes the sandboxes of an earlier server that used the same data directory: it may have been
 * killed, and they outlive it. They are what is below the directories called `name` that this server
 * makes (`baseDirs`) or that the earlier one wrote down in `recordFile`, as its own cgroup may have been
 * another. Those whose ids are to `keep` stay. Then writes down this server's directories, and those where something stays. Resolves with
 * the ids of what it removed.
 */
export async function sweepLeftovers(options: {
  readonly baseDirs: readonly string[]
  readonly name: string
  readonly recordFile: string
  readonly keep: ReadonlySet<string>
}): Promise<string[]> {
  const { baseDirs, name, recordFile, keep } = options
  const earlier = readLines(recordFile).filter((dir) => basename(dir) === name && !baseDirs.includes(dir))
  const swept = new Set<string>()
  for (const base of [...baseDirs, ...earlier]) {
    for (const id of listGroups(base)) {
      if (keep.has(id)) continue
      await emptyGroup(join(base, id))
      await removeGroup(join(base, id))
      swept.add(id)
    }
  }
  for (const base of earlier) await rmdir(base).catch(() => {})
  const inUse = earlier.filter((base) => listGroups(base).length > 0)
  await writeFile(`${recordFile}.new`, [...baseDirs, ...inUse].map((dir) => `${dir}\n`).join(''))
  await rename(`${recordFile}.new`, recordFile)
  return [...swept]
}

async function emptyGroup(dir: string): Promise<void> {
  const deadline = performance.now() + SWEEP_MS
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 100)) {
    const pids = readPids(dir)
    if (pids.length === 0) return
    if (performance.now() > deadline) {
      throw new Error(`processes of an earlier server do not end: ${pids.join(' ')} in ${dir}`)
    }
    for (const pid of pids) kill(pid)
    await delay(waitMs)
  }
}

function listGroups(base: string): string[] {
  try {
    const entries = readdirSync(base, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  } catch {
    return []
  }
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}
