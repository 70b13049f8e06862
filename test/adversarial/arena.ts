import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createApiClient } from '../support/api-client.ts'
import type { Attack, Outcome, Target } from './attack.ts'
import { layBait } from './bait.ts'

const SERVER = path.join(import.meta.dirname, 'server-under-attack.ts')
const AGENT = path.resolve(import.meta.dirname, '../../agent')
/**
 * What the server may hold more after an attack, a moment later: results of ended sessions, which somebody may yet ask for. 64 Mi
 * characters, some of two bytes, and what is on its way.
 */
const HELD_BYTES = 160 * 1024 * 1024
/** The same of its resident memory: V8 and malloc keep for the next flood what one took. */
const GROWTH_BYTES = 512 * 1024 * 1024
const SETTLE_MS = 5000

export interface Result extends Outcome {
  readonly name: string
  /** From the attack's start until it was over and its session destroyed. */
  readonly ms: number
}

/** A real server with bait laid around it. */
export interface Arena {
  /** Runs one attack in a fresh session; then a neighbour must answer and the server's memory be where it was. */
  run(attack: Attack): Promise<Result>
  readonly target: Omit<Target, 'kernel'>
  /** What the server said on its standard error. */
  errors(): string
  close(): Promise<void>
}

export async function openArena(
  without: readonly string[] = [],
  {
    refuses = false,
    environment = {},
  }: { readonly refuses?: boolean; readonly environment?: Readonly<Record<string, string>> } = {},
): Promise<Arena> {
  const bait = await layBait()
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-arena-'))
  const dataDir = path.join(folder, 'where-the-server-keeps-its-data')
  const isDumpable = without.includes('undumpable-agent')
  const options = {
    // Told what is left out, the server serves all the same.
    ...(without.length > 0 && !refuses
      ? { without: without.filter((layer) => layer !== 'undumpable-agent') }
      : {}),
    ...(isDumpable ? { agentDir: makeDumpableAgent(folder) } : {}),
  }
  // Descriptor 40 would pass to every program the server starts; Node itself closes those next to its own.
  const command = [
    'exec 40<"$0"; exec "$@"',
    bait.openFile,
    process.execPath,
    '--expose-gc',
    SERVER,
    JSON.stringify(options),
  ]
  const child: ChildProcess = spawn('bash', ['-c', ...command], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      COB_PORT: '0',
      COB_DATA_DIR: dataDir,
      COB_LOG_LEVEL: 'warn',
      // So that as many are kept ready in the end as in the beginning.
      COB_MAX_WARM: '4',
      BAIT_CANARY: bait.canary,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const close = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exited
    bait.close()
    rmSync(folder, { recursive: true, force: true })
  }
  const told = await Promise.race([once(child.stdout ?? child, 'data'), exited])
  if (child.exitCode !== null) {
    await close()
    throw new Error(`the server did not start: ${errors}`)
  }
  const { url, key } = JSON.parse(String(told[0])) as { url: string; key: string }
  const api = createApiClient(url, key)
  const pid = child.pid ?? 0
  const neighbour = await api.create({ clientSessionToken: 'the neighbour' })
  await api.run(neighbour, 'secret = "of the neighbour"')
  const target = { api, neighbour, server: { url, key, pid, dataDir }, bait }
  const readHeld = async (): Promise<number> => {
    child.kill('SIGUSR2')
    const [line] = await once(child.stdout ?? child, 'data')
    return Number(JSON.parse(String(line)).held)
  }
  const usual = { held: await readHeld(), resident: readRss(pid) }

  return {
    target,
    errors: () => errors,
    close,
    async run(attack) {
      const { timeout = 20_000, maxMem = 131_072, ...others } = attack.limits ?? {}
      const kernel = await api.create({ resourceLimits: { timeout, maxMem, ...others } })
      const start = performance.now()
      const result = await attack.run({ ...target, kernel }).catch((error: unknown) => ({
        safe: false,
        outcome: `failed: ${error instanceof Error ? error.message : error}`,
      }))
      const destroyed = performance.now()
      await api.call('DELETE', `/v1/kernel/${kernel}`)
      const ms = performance.now() - start
      const harm = await findHarm(performance.now() - destroyed)
      return { ...result, ...(harm ? { safe: false, outcome: harm } : {}), name: attack.name, ms }
    },
  }

  async function findHarm(destroyMs: number): Promise<string | undefined> {
    if (destroyMs > 2000) return `its session took ${destroyMs.toFixed(0)} ms to be destroyed`
    const asked = performance.now()
    const { value } = await api.run(neighbour, 'secret')
    const answeredMs = performance.now() - asked
    if (value?.['text/plain'] !== "'of the neighbour'") return 'the neighbour lost its variables'
    if (answeredMs > 1000) return `the neighbour answered only after ${answeredMs.toFixed(0)} ms`
    for (const giveUp = performance.now() + SETTLE_MS; ; await delay(100)) {
      const held = (await readHeld()) - usual.held
      const resident = readRss(pid) - usual.resident
      if (held <= HELD_BYTES && resident <= GROWTH_BYTES) return undefined
      if (performance.now() > giveUp)
        return `the server holds ${toMiB(held)} MiB more, and its memory has grown by ${toMiB(resident)} MiB`
    }
  }
}

function toMiB(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0)
}

/** A copy of the agent without its precaution against being looked into. */
function makeDumpableAgent(folder: string): string {
  const copy = path.join(folder, 'agent')
  cpSync(AGENT, copy, { recursive: true })
  const file = path.join(copy, 'processes.py')
  const source = readFileSync(file, 'utf8')
  const changed = source.replace('set_dumpable(False)', 'set_dumpable(True)')
  if (changed === source) throw new Error(`${file} has no such precaution`)
  writeFileSync(file, changed)
  return copy
}

function readRss(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}
