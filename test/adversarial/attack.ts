import type { RunResult } from '@cob/protocol'
import type { Layer } from '../../packages/server/src/backend/local/layers.ts'
import type { ApiClient } from '../support/api-client.ts'
import type { Bait } from './bait.ts'

/** What an attack has at hand. */
export interface Target {
  readonly api: ApiClient
  /** A fresh session for this attack alone. */
  readonly kernel: string
  /** Another session of the same key, that must not notice. */
  readonly neighbour: string
  readonly server: {
    readonly url: string
    readonly key: string
    readonly pid: number
    readonly dataDir: string
  }
  readonly bait: Bait
}

/** What came of it. `safe` false: something got out, or somebody else was hurt. */
export interface Outcome {
  readonly safe: boolean
  readonly outcome: string
}

/** The agent's own precaution, which no switch of the server turns off; tests run a changed agent instead. */
type AgentLayer = 'undumpable-agent'

export interface Attack {
  readonly name: string
  /** What holds it: with all of these left out it succeeds. Empty where it is the server's own doing. */
  readonly layers: readonly (Layer | AgentLayer)[]
  /** Of the kernel it runs in; a small one by default. */
  readonly limits?: Readonly<Record<string, number>>
  run(target: Target): Promise<Outcome>
}

/** For Python attacks: `attempt(what, action)` notes a hole unless `action` raises OSError; `hole(what)` notes one. */
const PRELUDE = `
import ctypes, errno, glob, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
holes, refusals = [], []
def hole(what): holes.append(what)
def attempt(what, action):
    try: result = action()
    except OSError as problem: refusals.append(errno.errorcode.get(problem.errno, str(problem)))
    else: hole(f'{what}: {str(result)[:80]}')
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments])
    if result == -1: raise OSError(ctypes.get_errno(), 'call')
    return result
def spill(path, data=b'1'):
    fd = os.open(path, os.O_WRONLY)
    try: return os.write(fd, data)
    finally: os.close(fd)
def slurp(path):
    with open(path, 'rb') as file: return file.read()
`
const REPORT = `
print('HOLE ' + '; '.join(holes) if holes else 'safe ' + ', '.join(sorted(set(refusals))))
`

/** An attack that is a piece of Python: safe when it comes to its end and notes no hole. */
export function python(
  name: string,
  layers: Attack['layers'],
  code: string | ((target: Target) => string),
  limits?: Attack['limits'],
): Attack {
  return {
    name,
    layers,
    ...(limits ? { limits } : {}),
    async run(target) {
      const source = typeof code === 'string' ? code : code(target)
      return toOutcome(await target.api.run(target.kernel, PRELUDE + source + REPORT))
    },
  }
}

function toOutcome({ status, stdout, exceptions, reason }: RunResult): Outcome {
  const said = stdout.trim().split('\n').at(-1) ?? ''
  if (status === 'finished' && exceptions.length === 0)
    return { safe: said.startsWith('safe'), outcome: said.replace(/^safe ?/, '') || 'nothing got out' }
  return {
    safe: false,
    outcome: `${status} ${reason ?? ''} ${exceptions[0]?.[0] ?? ''} ${exceptions[0]?.[1]}`,
  }
}

/** An attack whose session must end, or not, for one of these reasons; `code` may be cut short. */
export function ends(
  name: string,
  layers: Attack['layers'],
  reasons: readonly (string | undefined)[],
  code: string,
  limits?: Attack['limits'],
): Attack {
  return {
    name,
    layers,
    ...(limits ? { limits } : {}),
    async run({ api, kernel }) {
      const { status, reason, stdout, exceptions } = await api.run(kernel, PRELUDE + code)
      const how = reason ?? exceptions[0]?.[0] ?? status
      const safe = (reasons.includes(how) || reasons.includes(reason)) && !stdout.includes('HOLE')
      return { safe, outcome: stdout.includes('HOLE') ? stdout.slice(stdout.indexOf('HOLE'), 100) : how }
    },
  }
}
