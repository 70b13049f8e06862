import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

const ROOT = path.dirname(import.meta.dirname)
const S = 'packages/server/src'

/** The rule, the file that breaks it, and what it may not import. */
const FORBIDDEN: readonly (readonly [rule: string, from: string, to: string])[] = [
  ['no-cycles', `${S}/sessions/a.ts`, `${S}/sessions/b.ts`],
  ['resolvable', `${S}/sessions/a.ts`, './nowhere.ts'],
  ['ranked', `${S}/helpers/text.ts`, `${S}/errors.ts`],
  ['composition-root', `${S}/index.ts`, `${S}/backend/local/local-backend.ts`],
  ['composition-root', `${S}/index.ts`, `${S}/store/sqlite-store.ts`],
  ['server', `${S}/app.ts`, 'packages/cli/src/program.ts'],
  ['server', `${S}/app.ts`, 'test/support/fake.ts'],
  ['protocol-imports-nothing', 'packages/protocol/src/kernel.ts', `${S}/errors.ts`],
  ['leaves', `${S}/config.ts`, `${S}/sessions/manager.ts`],
  ['leaves', `${S}/errors.ts`, `${S}/config.ts`],
  ['leaves', `${S}/observe/logger.ts`, `${S}/config.ts`],
  ['leaves', `${S}/data-folder.ts`, `${S}/config.ts`],
  ['channel', `${S}/channel/framing.ts`, `${S}/sessions/manager.ts`],
  ['channel', `${S}/channel/framing.ts`, `${S}/backend/backend.ts`],
  ['backend', `${S}/backend/local/local-backend.ts`, `${S}/sessions/sessions.ts`],
  ['backend', `${S}/backend/local/local-backend.ts`, `${S}/channel/framing.ts`],
  ['backend', `${S}/backend/local/local-backend.ts`, `${S}/langs/lang.ts`],
  ['store', `${S}/store/store.ts`, `${S}/sessions/sessions.ts`],
  ['langs', `${S}/langs/lang.ts`, `${S}/sessions/manager.ts`],
  ['langs', `${S}/langs/lang.ts`, `${S}/backend/local/local-backend.ts`],
  ['sessions', `${S}/sessions/manager.ts`, `${S}/http/server.ts`],
  ['sessions', `${S}/sessions/manager.ts`, `${S}/backend/local/local-backend.ts`],
  ['sessions', `${S}/sessions/manager.ts`, `${S}/store/sqlite-store.ts`],
  ['sessions', `${S}/sessions/manager.ts`, `${S}/config.ts`],
  ['fronts', `${S}/http/server.ts`, `${S}/backend/backend.ts`],
  ['fronts', `${S}/http/server.ts`, `${S}/channel/framing.ts`],
  ['fronts', `${S}/http/server.ts`, `${S}/sessions/manager.ts`],
  ['cli', 'packages/cli/src/program.ts', `${S}/config.ts`],
]
const ALLOWED: readonly (readonly [from: string, to: string])[] = [
  [`${S}/sessions/b.ts`, `${S}/sessions/a.ts`],
  [`${S}/app.ts`, `${S}/backend/local/local-backend.ts`],
  [`${S}/app.ts`, `${S}/http/server.ts`],
  [`${S}/http/server.ts`, `${S}/sessions/sessions.ts`],
  [`${S}/sessions/manager.ts`, `${S}/backend/backend.ts`],
  [`${S}/sessions/manager.ts`, `${S}/channel/framing.ts`],
  [`${S}/channel/framing.ts`, 'packages/protocol/src/kernel.ts'],
  [`${S}/sessions/manager.test.ts`, `${S}/config.ts`],
  ['packages/cli/src/program.ts', `${S}/index.ts`],
]

test('every rank rule fires on what it forbids, and on nothing else', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-ranks-'))
  try {
    const imports = new Map<string, string[]>()
    const at = (file: string): string[] => {
      if (!imports.has(file)) imports.set(file, [])
      return imports.get(file) ?? []
    }
    for (const [from, to] of [...FORBIDDEN.map(([, from, to]) => [from, to] as const), ...ALLOWED]) {
      const isPath = !to.startsWith('.')
      at(from).push(isPath ? `./${path.relative(path.dirname(from), to)}` : to)
      if (isPath) at(to)
    }
    for (const [file, targets] of imports) {
      mkdirSync(path.join(folder, path.dirname(file)), { recursive: true })
      writeFileSync(
        path.join(folder, file),
        targets.map((target) => `import '${target}'\n`).join('') || 'export {}\n',
      )
    }
    for (const name of ['.dependency-cruiser.mjs', 'tsconfig.json'])
      copyFileSync(path.join(ROOT, name), path.join(folder, name))

    const found = new Set(await cruise(folder))
    for (const [rule, from, to] of FORBIDDEN)
      assert.ok(found.has(`${rule}: ${from} -> ${to}`), `${rule} lets ${from} import ${to}`)
    for (const [from, to] of ALLOWED) {
      const objections = [...found].filter((line) => line.endsWith(`: ${from} -> ${to}`))
      // The way back of the circle above.
      assert.deepEqual(
        objections.filter((line) => !line.startsWith('no-cycles')),
        [],
      )
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** Violations as `rule: from -> to`. */
async function cruise(folder: string): Promise<string[]> {
  const program = path.join(ROOT, 'node_modules/.bin/depcruise')
  const args = ['--config', '.dependency-cruiser.mjs', '--output-type', 'json', 'packages', 'test']
  const output = await new Promise<string>((resolve) => {
    // Violations are also its exit status.
    execFile(program, args, { cwd: folder, maxBuffer: 64 * 1024 * 1024 }, (_error, stdout) => resolve(stdout))
  })
  // The shape is documented: https://github.com/sverweij/dependency-cruiser, "json" reporter.
  const { summary } = JSON.parse(output) as {
    summary: { violations: { from: string; to: string; rule: { name: string } }[] }
  }
  return summary.violations.map(({ from, to, rule }) => `${rule.name}: ${from} -> ${to}`)
}
