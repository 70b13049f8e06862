/**
 * `npm test`: every check there is, a line each, the full output of those that fail, and last `N passed, N failed`. With `--static`
 * only those that run no program of ours; with `--all` also the slow ones.
 */
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import path from 'node:path'

const ROOT = path.dirname(import.meta.dirname)
const PYTHON = '/usr/bin/python3'
/** For a file of tests and each test in it: one that hangs is named, and does not keep the others. */
const TEST_TIMEOUT_MS = 180_000
/** For a check that ends by itself no more. */
const CHECK_TIMEOUT_MS = 900_000
/** Until what a check printed is read, once it has ended; a process that it left behind may hold its output for ever. */
const READ_MS = 10_000

interface Result {
  readonly passed: number
  readonly failed: number
}
interface Check {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  /** How many tests the output tells of; a check without counts as one. */
  readonly count?: (output: string) => Result | undefined
}

/** Of all runs that the output tells of. */
const nodeCounts = (output: string): Result | undefined => {
  const sumOf = (what: string): number =>
    [...output.matchAll(new RegExp(`^(?:ℹ|#) ${what} (\\d+)$`, 'gm'))].reduce(
      (total, [, count]) => total + Number(count),
      0,
    )
  const [tests, passed] = [sumOf('tests'), sumOf('pass')]
  return tests === 0 ? undefined : { passed, failed: tests - passed }
}
const pythonCounts = (output: string): Result | undefined => {
  const run = Number(/^Ran (\d+) tests? in/m.exec(output)?.[1] ?? Number.NaN)
  if (Number.isNaN(run)) return undefined
  // A skipped test is one that did not show what it is for.
  const bad = [...output.matchAll(/(?:failures|errors|skipped|unexpected successes)=(\d+)/g)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  )
  return { passed: run - bad, failed: bad }
}
const tests = (name: string, pattern: string | readonly string[], { concurrency = 2 } = {}): Check => ({
  name,
  command: [
    'node',
    '--test',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    ...[pattern]
      .flat()
      .flatMap((each) => globSync(each, { cwd: ROOT }))
      .sort(),
  ],
  count: nodeCounts,
})

const STATIC: readonly Check[] = [
  { name: 'format and lint', command: ['biome', 'ci', '--colors=off', '--error-on-warnings', '.'] },
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  {
    name: 'ranks and cycles',
    command: ['depcruise', '--config', '.dependency-cruiser.mjs', 'packages', 'scripts', 'test'],
  },
  { name: 'unused code', command: ['knip'] },
  { name: 'generated files', command: ['node', 'scripts/generate.ts', '--check'] },
]
const pythonTests = (name: string): Check => ({
  name,
  command: [PYTHON, '-W', 'error', '-m', 'unittest', 'discover', '-s', `test/${name}`],
  count: pythonCounts,
})
/** They go with the static ones, so that both lanes take as long. */
const BESIDE: readonly Check[] = [
  pythonTests('agent'),
  tests('languages', 'test/langs/**/*.test.ts'),
  tests('unit', ['packages/*/src/**/*.test.ts', 'scripts/*.test.ts']),
  tests('contract', 'test/contract/**/*.test.ts'),
]
const DYNAMIC: readonly Check[] = [
  pythonTests('seccomp'),
  tests('integration', 'test/integration/**/*.test.ts'),
  // One file after the other: what one lets out, with layers left out, must not be what another measures.
  tests('adversarial', 'test/adversarial/**/*.test.ts', { concurrency: 1 }),
]
/** Take longer; need the Python package index, or QEMU and a kernel from Debian's. */
const SLOW: readonly Check[] = [
  tests('clients', 'test/clients/**/*.test.ts'),
  tests('kernelspecs', 'test/kernelspecs/**/*.test.ts'),
  tests('soak', 'test/soak/**/*.test.ts'),
  { name: 'speed', command: ['node', 'bench/check.ts'] },
  { name: 'cgroup v2', command: ['node', 'scripts/test-cgroup2.ts', '--quick'], count: nodeCounts },
]

const startedAt = performance.now()
// In two lanes, one after the other in each: two things at a time on two cores.
const isAll = process.argv.includes('--all')
const lanes = process.argv.includes('--static')
  ? [STATIC]
  : [
      [...STATIC, ...BESIDE],
      [...DYNAMIC, ...(isAll ? SLOW : [])],
    ]
const results = (await Promise.all(lanes.map(runInOrder))).flat()
const sum = (pick: (result: Result) => number): number =>
  results.reduce((total, result) => total + pick(result), 0)
const failed = sum((result) => result.failed)
console.log(`\nall checks: ${seconds(startedAt)}`)
console.log(`${sum((result) => result.passed)} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

async function runInOrder(checks: readonly Check[]): Promise<Result[]> {
  const done: Result[] = []
  for (const check of checks) done.push(await run(check))
  return done
}

async function run({ name, command: [program, ...args], count }: Check): Promise<Result> {
  const began = performance.now()
  const { output, status } = await execute(program, args)
  const counted = count?.(output) ?? {
    passed: status === 0 && !count ? 1 : 0,
    failed: status === 0 && !count ? 0 : 1,
  }
  // A run may fail although each of its tests passed, a leak after the last one for instance.
  const result = status !== 0 && counted.failed === 0 ? { ...counted, failed: 1 } : counted
  const word = result.failed === 0 ? 'ok    ' : 'FAILED'
  console.log(
    `${word} ${name.padEnd(18)} ${seconds(began).padStart(8)}  ${result.passed} passed, ${result.failed} failed`,
  )
  if (result.failed > 0) console.log(`\n$ ${program} ${args.join(' ')}\n${output}`)
  return result
}

function execute(program: string, args: readonly string[]): Promise<{ output: string; status: number }> {
  return new Promise((resolve) => {
    const environment: NodeJS.ProcessEnv = {
      ...process.env,
      PATH: `${path.join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
      FORCE_COLOR: '0',
    }
    // A test run inside a test run would report to its parent.
    delete environment.NODE_TEST_CONTEXT
    const child = spawn(program, args, { cwd: ROOT, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (text: string) => {
        output += text
      })
    }
    const fail = (why: string): void => {
      clearTimeout(timer)
      for (const stream of [child.stdout, child.stderr]) stream.destroy()
      resolve({ output: `${output}\n${program} ${why}`, status: 1 })
    }
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`was killed, as it took more than ${CHECK_TIMEOUT_MS / 1000} s`)
    }, CHECK_TIMEOUT_MS)
    let reading: NodeJS.Timeout | undefined
    child.on('error', (error) => fail(`cannot be run: ${error.message}`))
    child.on('exit', () => {
      clearTimeout(timer)
      reading = setTimeout(
        () => fail('has ended, but a process that it left behind holds its output'),
        READ_MS,
      )
    })
    child.on('close', (status) => {
      clearTimeout(reading)
      resolve({ output, status: status ?? 1 })
    })
  })
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
