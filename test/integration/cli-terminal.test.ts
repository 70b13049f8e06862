import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'
import { openTty, type Tty } from '../support/tty.ts'

const COB = path.resolve(import.meta.dirname, '../../packages/cli/bin/cob.mjs')
const folder = mkdtempSync(path.join(tmpdir(), 'cob-terminal-'))

let server: TestServer
before(async () => {
  server = await startServer()
})
after(async () => {
  for (const tty of opened) tty.kill()
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

const opened: Tty[] = []

function cob(args: readonly string[], size: { rows?: number; columns?: number } = {}): Tty {
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    TERM: 'xterm',
    COB_URL: server.url,
    COB_KEY: server.key,
  }
  const tty = openTty([process.execPath, COB, ...args], { env, cwd: folder, ...size })
  opened.push(tty)
  return tty
}

test('ctrl-D and ctrl-C at a question of the code leave cob shell and its variables there', async () => {
  const shell = cob(['shell', 'python3'])
  await shell.until('python3> ')
  shell.type('x = 42; input("q? ")\r')
  await shell.until('\nq? ')
  shell.type('\x04')
  await shell.until('EOFError')
  await shell.until('python3> ')
  shell.type('input("q? ")\r')
  await shell.until('\nq? ')
  shell.type('typed\x03')
  await shell.until('KeyboardInterrupt')
  await shell.until('python3> ')
  shell.type('x + 1\r')
  await shell.until('43\n')
  shell.type('\x04')
  assert.equal(await shell.ended, 0)
})

test('code that goes on after an interrupt is not told what is typed later', async () => {
  const shell = cob(['shell', 'python3'])
  await shell.until('python3> ')
  shell.type('try: input("q? ")\rexcept KeyboardInterrupt: print("goes", "on")\r\r')
  await shell.until('... q? ')
  shell.type('\x03')
  await shell.until('goes on')
  await shell.until('python3> ')
  shell.type('7\r')
  await shell.until('7\n7\n')
  shell.type('\x04')
  assert.equal(await shell.ended, 0)
})

test('passwords are neither shown nor offered again, and the shell remembers code', async () => {
  const shell = cob(['shell', 'python3'])
  await shell.until('python3> ')
  shell.type('from getpass import getpass; len(getpass("word: "))\r')
  await shell.until('\nword: ')
  shell.type('secret\r')
  await shell.until('\n6\n')
  await shell.until('python3> ')
  shell.type('\x1b[A')
  await shell.until('len(getpass("word: "))')
  assert.doesNotMatch(shell.shown(), /secret/)
  shell.type('\x03')
  await shell.until('python3> ')
  shell.type('\x04')
  assert.equal(await shell.ended, 0)
})

test('blocks and strings of several lines can be typed', async () => {
  const python = cob(['shell', 'python3'])
  await python.until('python3> ')
  python.type('text = """one\r')
  await python.until('... ')
  python.type('\r')
  await python.until('... ')
  python.type('two"""; print(len(text))\r')
  await python.until('8\n')
  python.type('\x04')
  assert.equal(await python.ended, 0)
  const bash = cob(['shell', 'sh'])
  await bash.until('bash> ')
  bash.type('for i in 1 2; do\r')
  await bash.until('... ')
  bash.type('echo "i$i"\r')
  await bash.until('... ')
  bash.type('done\r')
  await bash.until('i1\ni2\n')
  bash.type('\x04')
  assert.equal(await bash.ended, 0)
})

test('cob term works on a terminal that does not know its size', async () => {
  const kernel = await server.create()
  const term = cob(['term', kernel], { rows: 0, columns: 0 })
  await term.until('$ ')
  term.type('echo $((6 * 7))\r')
  await term.until('42\n')
  term.type('exit 3\r')
  assert.equal(await term.ended, 3)
  assert.doesNotMatch(term.shown(), /not understood/)
})
