import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { makeFolder } from './make-folder.ts'

test('folders are made down to the last one, and one that is there stays', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-folder-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const deep = path.join(folder, 'a/b/c')
  makeFolder(deep, 0o700)
  assert.equal(statSync(deep).mode & 0o777, 0o700)
  makeFolder(deep)
  writeFileSync(path.join(folder, 'file'), '')
  symlinkSync('nowhere', path.join(folder, 'link'))
  assert.throws(() => makeFolder(path.join(folder, 'file')), { code: 'EEXIST' })
  assert.throws(() => makeFolder(path.join(folder, 'file/below')), { code: 'ENOTDIR' })
  assert.throws(() => makeFolder(path.join(folder, 'link')), { code: 'EEXIST' })
  assert.throws(() => makeFolder(path.join(folder, 'link/below')), { code: 'EEXIST' })
})

test('where no folder can be made that is said, also below /proc', () => {
  const module = path.join(import.meta.dirname, 'make-folder.ts')
  const code = `import { makeFolder } from ${JSON.stringify(module)}
for (const folder of ['/proc/no', '/proc/no/such']) try { makeFolder(folder) } catch ({ code }) { console.log(code) }`
  // In a process of its own: one that tries for ever cannot be stopped from within.
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    timeout: 10_000,
    killSignal: 'SIGKILL',
  })
  assert.equal(said, 'ENOENT\nENOENT\n')
})
