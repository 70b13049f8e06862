/** Writes docs/languages.md from real runs of every kernel type: `npm run transcripts`. Needs the interpreters; versions differ. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { LangInfo, RunResult } from '@cob/protocol'
import { CASES, type Conformance, loadConformance, type Step } from '../test/support/conformance.ts'
import { startServer } from '../test/support/server.ts'

const SHOWN = ['hello', 'state', 'error', 'syntax-error', 'input', 'interrupt', 'unicode', 'exit'] as const
const MAX_SHOWN = 600
const OUT = path.resolve(import.meta.dirname, '../docs/languages.md')

const server = await startServer()
try {
  const { langs } = (await server.call<{ langs: LangInfo[] }>('GET', '/v1/langs')).body
  const files = loadConformance()
  const sections: string[] = []
  for (const info of langs) {
    const file = files.find(({ lang }) => lang === info.lang)
    if (!file || !info.available) continue
    process.stderr.write(`${info.lang} ...\n`)
    sections.push(await describe(info, file))
  }
  writeFileSync(OUT, [intro(langs, files), ...sections].join('\n'))
  process.stderr.write(`wrote ${OUT}\n`)
} finally {
  await server.close()
}

function intro(langs: readonly LangInfo[], files: readonly Conformance[]): string {
  const rows = langs.map(
    ({ lang, aliases, displayName, version, features }) =>
      `| \`${lang}\` | ${aliases.map((alias) => `\`${alias}\``).join(', ')} | ${displayName} | ${version ?? ''} | ${features.join(', ')} |`,
  )
  const left = files.flatMap(({ lang, cases }) =>
    CASES.flatMap((name) => {
      const steps = cases[name]
      return steps && 'notApplicable' in steps ? [`- \`${lang}\`, ${name}: ${steps.notApplicable}`] : []
    }),
  )
  return `# Kernel types

Written by \`npm run transcripts\` from real runs. Every type goes through the cases ${CASES.join(', ')}; \`npm test\` prints the table.

| type | aliases | | version | features |
|---|---|---|---|---|
${rows.join('\n')}

Cases that cannot be:

${left.join('\n')}
`
}

async function describe(info: LangInfo, { lang, limits, cases }: Conformance): Promise<string> {
  const parts: string[] = []
  for (const name of SHOWN) {
    const steps = cases[name]
    if (!steps || 'notApplicable' in steps) continue
    const kernel = await server.create({ lang, ...(limits && { resourceLimits: limits }) })
    for (const step of steps) parts.push(...(await follow(kernel, step)))
    await server.destroy(kernel)
  }
  return `## ${info.displayName} (\`${lang}\`)\n\n${parts.join('\n')}`
}

async function follow(kernel: string, step: Step): Promise<string[]> {
  if (!('code' in step)) return []
  const lines = [fence(step.code)]
  const inputs = [...(step.input ?? [])]
  let result = await server.run(
    kernel,
    step.code,
    { prefer: step.interruptAfter ? 'wait=1' : 'wait=60' },
    'shown',
  )
  let isInterrupted = false
  for (;;) {
    lines.push(...show(result))
    if (result.status === 'waiting-input') {
      const text = inputs.shift() ?? '\x04'
      lines.push(`_input:_ \`${text.replace('\x04', '^D')}\`\n`)
      result = await server.run(kernel, text, { prefer: 'wait=60' }, 'shown')
    } else if (result.status === 'continued') {
      if (!isInterrupted) {
        await server.call('POST', `/v1/kernel/${kernel}/interrupt`)
        lines.push('_interrupted:_\n')
        isInterrupted = true
      }
      result = await server.run(kernel, '', { prefer: 'wait=5' }, 'shown')
    } else return lines
  }
}

function show({ stdout, stderr, value, exceptions }: RunResult): string[] {
  const lines: string[] = []
  if (stdout) lines.push(fence(cut(stdout)))
  if (stderr.trim()) lines.push(`_stderr:_\n\n${fence(cut(stderr))}`)
  if (value) lines.push(`_value:_ \`${cut(String(value['text/plain'])).replaceAll('\n', ' ')}\`\n`)
  for (const [name, args, before, traceback] of exceptions) {
    const when = before ? ' before it ran' : ''
    lines.push(`_${name}${when}:_\n\n${fence(cut(traceback.join('') || args.join('\n')))}`)
  }
  return lines
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}\n…` : text
}

function fence(text: string): string {
  return `\`\`\`\n${text.replace(/\n+$/, '')}\n\`\`\`\n`
}
