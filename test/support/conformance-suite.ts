import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { LangInfo, RunResult } from '@cob/protocol'
import { CASES, type Case, type Conformance, loadConformance, type Step } from './conformance.ts'
import { startServer, type TestServer } from './server.ts'

/** Defines the tests of the kernel types that `isWanted`; at the end they print a table of types and cases. */
export function defineConformance(isWanted: (lang: string) => boolean): void {
  const files = loadConformance().filter(({ lang }) => isWanted(lang))
  const table = new Map(files.map(({ lang }) => [lang, new Map<string, string>()]))
  let server: TestServer
  let infos: readonly LangInfo[]
  before(async () => {
    server = await startServer()
    infos = (await server.call<{ langs: LangInfo[] }>('GET', '/v1/langs')).body.langs
  })
  after(async () => {
    await server.close()
    console.log(showTable(files, table))
  })

  test('every kernel type has its cases', () => {
    // A kernelspec may be anybody's.
    const own = infos.map(({ lang }) => lang).filter((lang) => isWanted(lang) && !lang.includes(':'))
    assert.deepEqual(
      own.filter((lang) => !files.some((file) => file.lang === lang)),
      [],
    )
  })

  describe('conformance', { concurrency: 2 }, () => {
    for (const { lang, limits, cases } of files) {
      // One type after the other, of two at once; its cases one by one, as some take all the memory there is.
      describe(lang, () => {
        for (const name of CASES) {
          test(`${lang}: ${name}`, async () => {
            table.get(lang)?.set(name, '✘')
            const info = infos.find((each) => each.lang === lang)
            assert.ok(
              info?.available,
              `${lang} is not installed: ${info?.install ?? 'there is no such type'}`,
            )
            const steps: Case | undefined = cases[name]
            assert.ok(steps, `${lang} has no case "${name}"`)
            if ('notApplicable' in steps) {
              table.get(lang)?.set(name, '–')
              return
            }
            const kernel = await server.create({ lang, ...(limits && { resourceLimits: limits }) })
            for (const step of steps) await follow(server, kernel, step)
            await server.call('DELETE', `/v1/kernel/${kernel}`)
            table.get(lang)?.set(name, '✔')
          })
        }
      })
    }
  })
}

async function follow(server: TestServer, kernel: string, step: Step): Promise<void> {
  if ('restart' in step) assert.equal((await server.call('PATCH', `/v1/kernel/${kernel}`)).status, 204)
  else if ('gone' in step) assert.equal((await server.gone(kernel)).reason, step.gone)
  else check(step, await run(server, kernel, step))
}

type CodeStep = Extract<Step, { code: string }>

/** Everything that came of it together. */
async function run(server: TestServer, kernel: string, step: CodeStep): Promise<RunResult> {
  const parts: RunResult[] = []
  const inputs = [...(step.input ?? [])]
  let isInterrupted = false
  let code = step.code
  for (;;) {
    const isNext = parts.length > 0 && code === ''
    const part = await server.run(
      kernel,
      code,
      { prefer: isNext || step.interruptAfter ? 'wait=1' : 'wait=60' },
      'case',
    )
    parts.push(part)
    if (part.status === 'waiting-input') {
      const next = inputs.shift()
      assert.ok(
        next !== undefined,
        `it asked although there is no more input: ${JSON.stringify(join(parts))}`,
      )
      code = next
      continue
    }
    if (part.status !== 'continued') return join(parts)
    code = ''
    if (isInterrupted || !step.interruptAfter || !join(parts).stdout.includes(step.interruptAfter)) continue
    assert.equal((await server.call('POST', `/v1/kernel/${kernel}/interrupt`)).status, 204)
    isInterrupted = true
  }
}

function join(parts: readonly RunResult[]): RunResult {
  const last = parts.at(-1)
  assert.ok(last)
  return {
    ...last,
    stdout: parts.map(({ stdout }) => stdout).join(''),
    stderr: parts.map(({ stderr }) => stderr).join(''),
    exceptions: parts.flatMap(({ exceptions }) => exceptions),
    truncated: parts.some(({ truncated }) => truncated),
  }
}

function check(step: CodeStep, result: RunResult): void {
  const about = `${step.code.slice(0, 200)}\n${JSON.stringify({ ...result, stdout: result.stdout.slice(0, 500) })}`
  assert.equal(result.status, step.status ?? (step.interruptAfter ? 'interrupted' : 'finished'), about)
  assert.equal(result.reason, step.reason, about)
  if (step.stdout !== undefined) assert.equal(result.stdout, step.stdout, about)
  if (step.stdoutMatches !== undefined) assert.match(result.stdout, new RegExp(step.stdoutMatches), about)
  if (step.stderrMatches !== undefined) assert.match(result.stderr, new RegExp(step.stderrMatches), about)
  if (step.value !== undefined) assert.equal(result.value?.['text/plain'], step.value, about)
  if (step.length !== undefined) assert.equal([...result.stdout].length, step.length, about)
  assert.equal(result.truncated, step.truncated ?? false, about)
  const [exception, ...more] = result.exceptions
  assert.deepEqual(more, [], about)
  assert.equal(exception !== undefined, step.exception !== undefined, about)
  if (!exception) return
  const [name, args, before, traceback] = exception
  assert.match(name, new RegExp(`^(?:${step.exception})$`), about)
  assert.equal(before, step.before ?? false, about)
  if (step.exceptionMatches !== undefined)
    assert.match([...args, ...traceback].join('\n'), new RegExp(step.exceptionMatches), about)
}

function showTable(
  files: readonly Conformance[],
  table: ReadonlyMap<string, ReadonlyMap<string, string>>,
): string {
  const width = Math.max(...files.map(({ lang }) => lang.length))
  const lines = [...table].map(
    ([lang, results]) =>
      `${lang.padEnd(width)}  ${CASES.map((name) => (results.get(name) ?? ' ').padEnd(name.length)).join('  ')}`,
  )
  const reasons = files.flatMap(({ lang, cases }) =>
    CASES.flatMap((name) => {
      const steps = cases[name]
      return steps && 'notApplicable' in steps ? [`– ${lang}, ${name}: ${steps.notApplicable}`] : []
    }),
  )
  return [`${' '.repeat(width)}  ${CASES.join('  ')}`, ...lines, ...reasons].join('\n')
}
