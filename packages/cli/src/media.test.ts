import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createMediaSaver } from './media.ts'

test('what a program displays becomes files of its kind, and no file is overwritten', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-media-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  t.mock.method(process.stderr, 'write', () => true)
  const dir = path.join(folder, 'images')
  for (let run = 0; run < 2; run++) {
    const media = createMediaSaver(dir)
    media.save(['image/png', `data:image/png;base64,${Buffer.from([run, 255]).toString('base64')}`])
    media.save(['image/svg+xml', `<svg id="${run}"/>`])
  }
  assert.deepEqual(readdirSync(dir).sort(), ['cob-1.png', 'cob-2.png', 'cob-2.svg', 'cob-3.svg'])
  assert.deepEqual([...readFileSync(path.join(dir, 'cob-1.png'))], [0, 255])
  assert.deepEqual([...readFileSync(path.join(dir, 'cob-2.png'))], [1, 255])
  assert.equal(readFileSync(path.join(dir, 'cob-3.svg'), 'utf8'), '<svg id="1"/>')
})
