import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunResult } from '@cob/protocol'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

const LIMITS = { timeout: 20_000 }
const create = (lang: string): Promise<string> => server.create({ lang, resourceLimits: LIMITS })
const interrupt = async (kernel: string): Promise<void> => {
  assert.equal((await server.call('POST', `/v1/kernel/${kernel}/interrupt`)).status, 204)
}
const outcome = ({ status, stdout, value, exceptions }: RunResult): unknown[] => [
  status,
  stdout,
  value?.['text/plain'],
  ...exceptions.map(([name]) => name),
]

describe('nodejs', () => {
  test('code that has ended asks for nothing, whatever it left listening', async () => {
    const kernel = await create('nodejs')
    for (const code of ['process.stdin.on("data", () => {}); 0', 'process.stdin.resume(); 0'])
      assert.deepEqual(outcome(await server.run(kernel, code)), ['finished', '', '0'])
    await server.destroy(kernel)
  })

  test('after an interrupt the same interface asks again, and whoever asks gets the answer', async () => {
    for (const [module, question] of [
      ['readline/promises', 'await rl.question("Q? ")'],
      ['readline', 'await require("util").promisify(rl.question).call(rl, "Q? ")'],
      ['readline', 'await new Promise((resolve) => rl.question("Q? ", resolve))'],
    ]) {
      const kernel = await create('nodejs')
      await server.run(
        kernel,
        `const rl = require("${module}").createInterface({ input: process.stdin, output: process.stdout })`,
      )
      assert.equal((await server.run(kernel, question ?? '')).status, 'waiting-input')
      await interrupt(kernel)
      assert.equal((await server.run(kernel, question ?? '')).status, 'waiting-input')
      assert.deepEqual(outcome(await server.run(kernel, 'Ann')), ['finished', '', "'Ann'"])
      await server.destroy(kernel)
    }
  })

  test('a reader of lines that was interrupted takes nothing from the next one', async () => {
    const kernel = await create('nodejs')
    const code = 'for await (const line of process.stdin) console.log("got", String(line).trim())'
    assert.equal((await server.run(kernel, code)).status, 'waiting-input')
    await interrupt(kernel)
    assert.equal((await server.run(kernel, code)).status, 'waiting-input')
    assert.deepEqual(outcome(await server.run(kernel, 'a')), ['waiting-input', 'got a\n', undefined])
    assert.deepEqual(outcome(await server.run(kernel, 'b\x04')), ['finished', 'got b\n', undefined])
    await server.destroy(kernel)
  })

  test('who listens once is asked once', async () => {
    const kernel = await create('nodejs')
    const code =
      'let got\nprocess.stdin.once("data", (data) => { got = String(data) })\nawait new Promise((resolve) => setTimeout(resolve, 300))\ngot'
    assert.equal((await server.run(kernel, code)).status, 'waiting-input')
    assert.deepEqual(outcome(await server.run(kernel, 'x')), ['finished', '', "'x\\n'"])
    await server.destroy(kernel)
  })

  test('a question that its execution did not wait for is asked by the next one that does', async () => {
    const kernel = await create('nodejs')
    const start =
      'const rl = require("readline/promises").createInterface({ input: process.stdin })\nconst asked = rl.question("")\nawait new Promise((resolve) => setTimeout(resolve, 100))'
    assert.equal((await server.run(kernel, start)).status, 'waiting-input')
    await until(async () => (await server.info(kernel)).status === 'idle')
    assert.deepEqual(outcome(await server.run(kernel, 'too late')), ['finished', '', undefined])
    assert.equal((await server.run(kernel, 'await asked')).status, 'waiting-input')
    assert.deepEqual(outcome(await server.run(kernel, 'Ann')), ['finished', '', "'Ann'"])
    await server.destroy(kernel)
  })
})

for (const lang of ['python3', 'ipython'])
  test(`${lang}: the standard input ends when somebody says so, and programs that are started have it too`, async () => {
    const kernel = await create(lang)
    const sum = 'import sys\nsum(map(int, sys.stdin.read().split()))'
    assert.equal((await server.run(kernel, sum)).status, 'waiting-input')
    assert.equal((await server.run(kernel, '1 2')).status, 'waiting-input')
    assert.deepEqual(outcome(await server.run(kernel, '3\x04')), ['finished', '', '6'])
    const cat = 'import subprocess\nprint("name?", subprocess.run(["head", "-n1"], stdout=-1).stdout)'
    assert.equal((await server.run(kernel, cat)).status, 'waiting-input')
    await interrupt(kernel)
    assert.equal((await server.run(kernel, cat)).status, 'waiting-input')
    assert.deepEqual(outcome(await server.run(kernel, 'Ann')), ['finished', "name? b'Ann\\n'\n", undefined])
    await server.destroy(kernel)
  })
