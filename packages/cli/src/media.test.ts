import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { PNG } from 'pngjs'
import { findImageProtocol, toEscapes } from './inline-image.ts'
import { createMediaShower } from './media.ts'

test('what a program displays becomes files of its kind, and no file is overwritten', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cob-media-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  t.mock.method(process.stderr, 'write', () => true)
  const said = t.mock.method(process.stdout, 'write', () => true)
  const dir = path.join(folder, 'images')
  for (let run = 0; run < 2; run++) {
    const media = createMediaShower({}, dir)
    media.show({ 'text/plain': '<Figure>', 'image/png': Buffer.from([run, 255]).toString('base64') })
    media.show({ 'image/svg+xml': `<svg id="${run}"/>` })
    media.show({ 'text/plain': '42' })
  }
  assert.deepEqual(readdirSync(dir).sort(), ['cob-1.png', 'cob-2.png', 'cob-2.svg', 'cob-3.svg'])
  assert.deepEqual([...readFileSync(path.join(dir, 'cob-1.png'))], [0, 255])
  assert.deepEqual([...readFileSync(path.join(dir, 'cob-2.png'))], [1, 255])
  assert.equal(readFileSync(path.join(dir, 'cob-3.svg'), 'utf8'), '<svg id="1"/>')
  assert.deepEqual(
    said.mock.calls.map(({ arguments: [text] }) => text),
    ['42\n', '42\n'],
  )
})

test('terminals that can are shown pictures the way they know', () => {
  for (const [environment, images, expected] of [
    [{ TERM: 'xterm-kitty' }, undefined, 'kitty'],
    [{ TERM: 'xterm-256color', TERM_PROGRAM: 'iTerm.app' }, undefined, 'iterm2'],
    [{ TERM: 'foot' }, undefined, 'sixel'],
    [{ TERM: 'xterm-256color' }, undefined, undefined],
    [{ TERM: 'xterm-kitty' }, 'file', undefined],
    [{}, 'sixel', 'sixel'],
  ] as const)
    assert.equal(findImageProtocol({ images }, environment, true), expected)
  assert.equal(findImageProtocol({ images: undefined }, { TERM: 'xterm-kitty' }, false), undefined)
  const image = new PNG({ width: 8, height: 8 })
  image.data.fill(255)
  const png = PNG.sync.write(image)
  const base64 = png.toString('base64')
  assert.equal(toEscapes('iterm2', png), `\x1b]1337;File=inline=1;size=${png.length}:${base64}\x07\n`)
  assert.equal(toEscapes('kitty', png), `\x1b_Ga=T,f=100,m=0;${base64}\x1b\\\n`)
  const sixel = toEscapes('sixel', png)
  assert.ok(sixel?.startsWith('\x1bP') && sixel.endsWith('\x1b\\\n'))
  assert.equal(toEscapes('sixel', Buffer.from('no picture')), undefined)
})
