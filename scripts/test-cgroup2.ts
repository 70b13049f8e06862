/**
 * `npm run test:cgroup2`: the tests of limits on cgroup v2, whatever this host has, in virtual machines that `test/machine` describes.
 * Prints what the tests print and ends with status 0 if all passed. `--tcg` uses no KVM, `--only=<word>` runs only stages with it in their name,
 * `--quick` the part that takes minutes and not a quarter of an hour where the processor is emulated.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { makeMachineImage } from './machine-image.ts'

const ROOT = path.dirname(import.meta.dirname)
const CACHE = path.join(ROOT, 'node_modules/.cache/cob-machine')
const QEMU = 'qemu-system-x86_64'
const MEMORY_MB = 2048
const SWAP_MB = 512
/** A KVM inside other virtual machines may start none, and not say so. */
const UP_TIMEOUT_MS = 30_000
/** Of one machine: 3 minutes with KVM, a quarter of an hour without on a busy host. */
const TIMEOUT_MS = 1_500_000
/** How many at once: each takes 2 s to make on an emulated processor. */
const SESSIONS = { kvm: 60, tcg: 8 } as const

const MACHINES = [
  { name: 'pure', parameters: 'cgroup_no_v1=all', isQuick: true },
  { name: 'mixed', parameters: '', isQuick: false },
] as const

/** Emulated, one without AVX: emulating that is newer than QEMU 7.2 is sound, and V8 breaks on it. */
const CPUS = { kvm: 'host', tcg: 'Westmere,+rdrand' } as const
/** Emulated in one thread: with one for each processor V8 crashes now and then, where it compiles WebAssembly to strip types. */
const ACCELERATION = { kvm: 'kvm', tcg: 'tcg,thread=single' } as const
type Accelerator = keyof typeof CPUS
/** Undefined: the machine never came up. */
type Outcome = number | undefined

const isQuick = process.argv.includes('--quick')
const only = process.argv.find((each) => each.startsWith('--only='))?.slice('--only='.length) ?? ''
const scratch = mkdtempSync(path.join(tmpdir(), 'cob-machine-'))
let machine: ChildProcess | undefined
let stages = 0
process.on('exit', () => {
  machine?.kill('SIGKILL')
  rmSync(scratch, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1))

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`THE TESTS ON CGROUP V2 DID NOT RUN. ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}

async function main(): Promise<number> {
  if (process.arch !== 'x64') throw new Error(`They need an x86-64 host; this one is ${process.arch}.`)
  const image = makeMachineImage(CACHE, path.join(ROOT, 'test/machine/init.sh'))
  let accelerator: Accelerator = process.argv.includes('--tcg') || !canUseKvm() ? 'tcg' : 'kvm'
  let worst = 0
  for (const { name, parameters } of MACHINES.filter((each) => each.isQuick || !isQuick)) {
    const append =
      `cob.machine=${name} ${parameters} ${only && `cob.only=${only}`} ${isQuick ? 'cob.quick=1' : ''}`.trim()
    const began = performance.now()
    let outcome = await boot(image, accelerator, append)
    if (outcome === undefined && accelerator === 'kvm') {
      console.log('machine: it does not come up with KVM; going on without')
      accelerator = 'tcg'
      outcome = await boot(image, accelerator, append)
    }
    if (outcome === undefined) throw new Error(`The machine did not come up; what ${QEMU} said is above.`)
    console.log(`machine: ${name}, ${accelerator}, ${((performance.now() - began) / 1000).toFixed(1)} s\n`)
    worst = Math.max(worst, outcome)
  }
  if (stages === 0) throw new Error(`No stage has "${only}" in its name; test/machine/guest.ts has them.`)
  return worst
}

function canUseKvm(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

async function boot(
  { kernel, initrd }: ReturnType<typeof makeMachineImage>,
  accelerator: Accelerator,
  append: string,
): Promise<Outcome> {
  const swap = path.join(scratch, 'swap')
  writeFileSync(swap, '')
  truncateSync(swap, SWAP_MB * 1024 * 1024)
  const shared = { usr: '/usr', etc: '/etc', checkout: ROOT }
  const args = [
    ...[
      '-nodefaults',
      '-no-user-config',
      '-no-reboot',
      '-display',
      'none',
      '-nic',
      'none',
      '-serial',
      'stdio',
    ],
    ...['-accel', ACCELERATION[accelerator], '-cpu', CPUS[accelerator], '-smp', '2', '-m', `${MEMORY_MB}M`],
    ...['-kernel', kernel, '-initrd', initrd, '-drive', `file=${swap},format=raw,if=virtio`],
    ...[
      '-append',
      `console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off cob.sessions=${SESSIONS[accelerator]} cob.emulated=${accelerator === 'tcg' ? 1 : 0} ${append}`,
    ],
    ...Object.entries(shared).flatMap(([tag, folder]) => [
      '-virtfs',
      `local,path=${folder.replaceAll(',', ',,')},mount_tag=${tag},security_model=none,readonly=on,multidevs=remap`,
    ]),
  ]
  const child = spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  machine = child
  let isUp = false
  let status: number | undefined
  const upTimer = setTimeout(() => child.kill('SIGKILL'), UP_TIMEOUT_MS)
  const timer = setTimeout(() => {
    console.log(`machine: killed, as it ran for more than ${TIMEOUT_MS / 1000} s`)
    child.kill('SIGKILL')
  }, TIMEOUT_MS)
  const failure = new Promise<never>((_, reject) => {
    child.on('error', (error) => {
      reject(
        new Error(
          `${QEMU} cannot be run (${error.message}). Install it:\n\n    sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-system-x86`,
        ),
      )
    })
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve())
  })
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = text.replaceAll('\r', '')
    if (line === 'machine: up') {
      isUp = true
      clearTimeout(upTimer)
    }
    if (line.startsWith('machine: stage took')) stages++
    const end = /^machine: ended with status (\d+)$/.exec(line)?.[1]
    if (end !== undefined) {
      status = Number(end)
      child.kill('SIGKILL')
    } else if (status === undefined) console.log(line)
  })
  try {
    await Promise.race([ended, failure])
  } finally {
    clearTimeout(upTimer)
    clearTimeout(timer)
  }
  if (!isUp) return undefined
  // Without its last word it has crashed or was killed.
  return status ?? 1
}
