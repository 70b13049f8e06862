import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createLangs } from './registry.ts'

test('a kernelspec whose program is not there, or not in sandboxes, is listed as unavailable with that program', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-langs-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const specs = path.join(folder, 'kernels')
  writeFileSync(path.join(folder, 'own'), '#!/bin/sh\n', { mode: 0o755 })
  for (const [name, program] of [
    ['absent', '/nope/x'],
    ['nameless', 'cob-no-such-program'],
    ['outside', path.join(folder, 'own')],
    ['named', 'env'],
    ['python', 'python3.99'],
  ] as const) {
    mkdirSync(path.join(specs, name), { recursive: true })
    writeFileSync(
      path.join(specs, name, 'kernel.json'),
      JSON.stringify({ argv: [program, '{connection_file}'], display_name: name }),
    )
  }
  mkdirSync(path.join(folder, 'langs/jupyter'), { recursive: true })
  const manifest = {
    lang: 'jupyter',
    aliases: [],
    displayName: 'Jupyter',
    interpreter: '/bin/true',
    versionCommand: ['/bin/true'],
    install: 'nothing',
    minMemKb: 1000,
    features: [],
    // A manifest may name only what is below /usr.
    kernelspecs: [`/usr/..${specs}`],
    evaluator: { start: 'fork', module: 'none' },
  }
  writeFileSync(path.join(folder, 'langs/jupyter/lang.json'), JSON.stringify(manifest))
  const langs = await createLangs({
    langsDir: path.join(folder, 'langs'),
    agentDir: folder,
    bundleDir: path.join(folder, 'bundles'),
  })
  const listed = await langs.list()
  assert.deepEqual(
    listed.map(({ lang, available }) => [lang, available]),
    [
      ['jupyter:absent', false],
      ['jupyter:named', true],
      ['jupyter:nameless', false],
      ['jupyter:outside', false],
      ['jupyter:python', true],
    ],
  )
  assert.match(listed[0]?.install ?? '', /\/nope\/x, which .*absent\/kernel\.json names/)
  assert.equal(await langs.find('jupyter:absent')?.load(), undefined)
})
