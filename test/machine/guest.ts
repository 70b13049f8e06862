/**
 * Runs inside the virtual machine, as its init: plays the part of systemd. Each stage is a run of tests in a cgroup of its own, as
 * root or as an ordinary user to whom the cgroup is delegated. Ends with status 0 if every stage passed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

const USER = 1000
const FULL = ['memory', 'pids', 'cpu']

interface Stage {
  readonly name: string
  readonly machine: 'pure' | 'mixed'
  readonly user: number
  /** Controllers that the cgroup has. */
  readonly controllers: readonly string[]
  /** False: the cgroup's files stay root's. */
  readonly isDelegated?: boolean
  readonly files: readonly string[]
  /** What of them a quick run has; a stage without is left out of it. */
  readonly quickFiles?: readonly string[]
  /** Patterns of test names. */
  readonly only?: string
  readonly skip?: string
  readonly environment?: Readonly<Record<string, string>>
}

const SUITES = [
  'test/machine/limits.test.ts',
  'test/contract/backend-local.test.ts',
  'test/integration/sessions.test.ts',
  'test/integration/many.test.ts',
]

/** Its credit is spent before an emulated processor has started Python; limits.test.ts has one with more. */
const SLOW_MACHINE = 'CPU time over the credit'

const STAGES: readonly Stage[] = [
  {
    name: 'root in a service',
    machine: 'pure',
    user: 0,
    controllers: FULL,
    files: ['packages/server/src/backend/local/cgroup-v2.test.ts', 'test/machine/clock.test.ts', ...SUITES],
    quickFiles: [
      'packages/server/src/backend/local/cgroup-v2.test.ts',
      'test/machine/limits.test.ts',
      'test/machine/clock.test.ts',
    ],
    skip: SLOW_MACHINE,
  },
  {
    name: 'a user with a delegated cgroup',
    machine: 'pure',
    user: USER,
    controllers: FULL,
    isDelegated: true,
    files: SUITES,
    // Only root gives each sandbox a user id of its own; the other is slow, and no matter of users.
    skip: `${SLOW_MACHINE}|host user id|1,000 executions`,
  },
  {
    name: 'a user with a cgroup delegated without memory',
    machine: 'pure',
    user: USER,
    controllers: ['pids', 'cpu'],
    isDelegated: true,
    files: ['test/machine/refusals.test.ts'],
    quickFiles: ['test/machine/refusals.test.ts'],
    environment: { TEST_MISSING: 'memory' },
  },
  {
    name: 'a user without a delegated cgroup',
    machine: 'pure',
    user: USER,
    controllers: FULL,
    files: ['test/machine/refusals.test.ts'],
    environment: { TEST_MISSING: 'memory processes cpu' },
  },
  {
    name: 'root in a scope without cpu',
    machine: 'pure',
    user: 0,
    controllers: ['memory', 'pids'],
    files: ['test/machine/limits.test.ts'],
    only: 'the rest by v2',
  },
  {
    name: 'root, memory on v1 and the rest on v2',
    machine: 'mixed',
    user: 0,
    controllers: ['pids', 'cpu'],
    files: ['test/machine/limits.test.ts'],
    environment: { TEST_MEMORY_LABEL: 'cgroup v1' },
  },
]

const parameters = readFileSync('/proc/cmdline', 'utf8')
const parameter = (name: string): string => new RegExp(`\\b${name}=(\\S+)`).exec(parameters)?.[1] ?? ''
const machine = parameter('cob.machine')
const v2 = machine === 'mixed' ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup'

process.stdout.write('machine: up\n')
let status = 0
for (const [index, stage] of STAGES.entries()) {
  const files = parameter('cob.quick') ? stage.quickFiles : stage.files
  if (!files || stage.machine !== machine || !stage.name.includes(parameter('cob.only'))) continue
  const began = performance.now()
  process.stdout.write(`\n== ${stage.name}\n`)
  if (!(await run({ ...stage, files }, `stage-${index}`))) status = 1
  process.stdout.write(`machine: stage took ${((performance.now() - began) / 1000).toFixed(1)} s\n`)
}
process.exitCode = status

async function run(stage: Stage, name: string): Promise<boolean> {
  const { user } = stage
  const group = join(v2, `${name}.slice`, 'cob.service')
  makeGroup(group, stage.controllers)
  if (stage.isDelegated) {
    // As systemd does: the files that move processes and hand controllers down, not the limits.
    for (const file of ['', 'cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control'])
      chownSync(join(group, file), user, user)
  }
  const home = join('/tmp', name)
  mkdirSync(home)
  chownSync(home, user, user)
  const tests = [
    ...['--test', '--test-concurrency=1', '--test-timeout=300000'],
    ...(stage.skip === undefined ? [] : [`--test-skip-pattern=${stage.skip}`]),
    ...(stage.only === undefined ? [] : [`--test-name-pattern=${stage.only}`]),
    ...stage.files,
  ]
  const become = ['setpriv', '--reuid', String(user), '--regid', String(user), '--clear-groups']
  const enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
  const child = spawn('/bin/sh', ['-c', enter, group, ...become, process.execPath, ...tests], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      HOME: home,
      TMPDIR: home,
      FORCE_COLOR: '0',
      NODE_COMPILE_CACHE: `/tmp/compiled-${user}`,
      TEST_EMULATED: parameter('cob.emulated'),
      TEST_SESSIONS: parameter('cob.sessions'),
      ...stage.environment,
    },
  })
  const [code] = await once(child, 'exit')
  const left = removeGroups(dirname(group))
  if (left.length > 0) process.stdout.write(`left behind: ${left.join(' ')}\n`)
  return code === 0 && left.length === 0
}

/** With every controller of `controllers` handed down to it. */
function makeGroup(group: string, controllers: readonly string[]): void {
  const parents = [dirname(dirname(group)), dirname(group)]
  mkdirSync(group, { recursive: true })
  for (const parent of parents) {
    for (const controller of controllers)
      writeFileSync(join(parent, 'cgroup.subtree_control'), `+${controller}`)
  }
}

/** What of a stage is left but the leaf that its servers moved into; then removes all of it that is empty. */
function removeGroups(group: string): string[] {
  const below = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const left = below.flatMap(({ name }) => removeGroups(join(group, name)))
  const pids = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)
  if (pids.length > 0) left.push(`${group} (processes ${pids.join(' ')})`)
  else if (/\/cob-[0-9a-f]{12}(\/|$)/.test(group)) left.push(group)
  if (existsSync(group) && pids.length === 0 && left.length === 0) rmdirSync(group)
  return left
}
