import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { filesOf } from './upload.ts'

const TYPE = 'multipart/form-data; boundary=b'
const PART = `--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n${'x'.repeat(16_000)}\r\n`
const PARTS = 2000

test('small files of one upload wait at the client until those before them are written', async () => {
  let sent = 0
  const body = Readable.from(
    (function* () {
      for (; sent < PARTS; sent++) yield Buffer.from(PART)
      yield Buffer.from('--b--\r\n')
    })(),
    { objectMode: false },
  )
  let count = 0
  for await (const { content } of filesOf(body, TYPE)) {
    // As long as anything more would come by itself.
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    assert.ok(sent - count < 20, `${sent} have been sent when ${count} are written`)
    let size = 0
    for await (const chunk of content) size += chunk.length
    assert.equal(size, 16_000)
    count++
  }
  assert.equal(count, PARTS)
})

test('what comes after an upload is refused is read all the same, so that the answer arrives', async () => {
  const body = Readable.from([Buffer.from(PART), Buffer.from('no boundary'), Buffer.from(PART.repeat(100))])
  for await (const _ of filesOf(body, TYPE)) break
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  assert.ok(body.readableEnded)
})
