import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { startServer } from '../support/server.ts'

const README = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8')
const EXAMPLE_ID = 'TSSJT2Z4SnmQhxjWMnJljg'

test("the README's requests can be pasted, and are answered as it says", async () => {
  // Indented code: a line that starts with curl, and those its backslashes go on to.
  const commands = README.match(/^ {4}curl (?:.*\\\n)*.*$/gm) ?? []
  assert.equal(commands.length, 3)
  const server = await startServer()
  try {
    let kernelId = EXAMPLE_ID
    const paste = async (command: string | undefined): Promise<string> => {
      const text = command
        ?.replace('http://127.0.0.1:8081', server.url)
        .replace(EXAMPLE_ID, () => kernelId)
        .replace('$KERNEL', () => kernelId)
        .trimStart()
      const { stdout } = await promisify(execFile)('/bin/sh', ['-c', `KEY='${server.key}'\n${text}`])
      return stdout
    }
    const created = JSON.parse(await paste(commands[0]))
    assert.match(README, /\{"kernelId":"TSSJT2Z4SnmQhxjWMnJljg","created":true\}/)
    assert.deepEqual(Object.keys(created), ['kernelId', 'created'])
    kernelId = String(created.kernelId)

    const { result } = JSON.parse(await paste(commands[1]))
    const shown = JSON.parse(/^ {4}(\{"result":[\s\S]*?\}\})$/m.exec(README)?.[1] ?? '')
    // These two differ from run to run.
    const { executionId, durationMs } = shown.result
    assert.deepEqual({ ...result, executionId, durationMs }, shown.result)

    const events = (await paste(commands[2])).trimEnd().split('\n')
    const text = events.map((line) => JSON.parse(line).text ?? '').join('')
    assert.equal(text, '0\n1\n2\n')
  } finally {
    await server.close()
  }
})
