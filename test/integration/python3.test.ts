import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { RunResult } from '@cob/protocol'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let id: string
before(async () => {
  server = await startServer()
  id = await server.create()
})
after(() => server.close())

const run = (code: string): Promise<RunResult> => server.run(id, code)
const value = async (code: string): Promise<unknown> => (await run(code)).value?.['text/plain']
const exception = async (code: string): Promise<RunResult['exceptions'][number]> => {
  const [first] = (await run(code)).exceptions
  assert.ok(first, 'no exception')
  return first
}

test('variables, imports and functions persist; the last expression is the value', async () => {
  await run('import math\nx = 20\ndef double(n):\n    return n * 2')
  assert.equal(await value('double(x) + int(math.sqrt(4))'), '42')
  assert.equal(await value('_ + 1'), '43')
  assert.equal(await value('x = 1'), undefined)
  assert.equal(await value('None'), undefined)
})

test('a value brings every form it has', async () => {
  const { value } = await run(`class Table:
    def _repr_html_(self): return '<b>t</b>'
    def _repr_png_(self): return b'png'
    def __repr__(self): return 'T'
Table()`)
  assert.deepEqual(value, {
    'text/plain': 'T',
    'text/html': '<b>t</b>',
    'image/png': Buffer.from('png').toString('base64'),
  })
  const bundle = await run(`class Own:
    def _repr_mimebundle_(self, include=None, exclude=None): return {'application/json': {'a': [1, 2]}}
Own()`)
  assert.deepEqual(bundle.value?.['application/json'], { a: [1, 2] })
})

test('await works at the top level', async () => {
  assert.equal(await value('import asyncio\nawait asyncio.sleep(0.01, "awaited")'), "'awaited'")
  const listed = await run('async def gen():\n    for i in range(3): yield i\nasync for i in gen(): print(i)')
  assert.equal(listed.stdout, '0\n1\n2\n')
})

test('output of print, C code and child processes comes in order', async () => {
  const { stdout } = await run(`import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
print('1 python')
libc.printf(b'2 c, ')
print('3 python', end=' ')
os.system('echo 4 shell')
libc.puts(b'5 c')
sys.stdout.write('6 python\\n')
subprocess.run(['echo', '7 child'])
os.write(1, b'8 raw\\n')`)
  assert.equal(stdout, '1 python\n2 c, 3 python 4 shell\n5 c\n6 python\n7 child\n8 raw\n')
})

test('an exception shows the lines of user code, and only those', async () => {
  const [name, args, before, traceback] = await exception('def inner(n):\n    return 1 / n\n\ninner(0)')
  assert.deepEqual([name, args, before], ['ZeroDivisionError', ['division by zero'], false])
  const text = traceback.join('')
  assert.match(text, /^Traceback \(most recent call last\):\n/)
  assert.match(text, /line 4, in <module>\n +inner\(0\)/)
  assert.match(text, /line 2, in inner\n +return 1 \/ n/)
  assert.match(text, /ZeroDivisionError: division by zero\n?$/)
  assert.doesNotMatch(text, /cob|opt/i)
  assert.deepEqual((await exception('a_name_not_there')).slice(0, 2), [
    'NameError',
    ["name 'a_name_not_there' is not defined"],
  ])
})

test('an exception is in exceptions and not in stderr; what ran before it is kept', async () => {
  const result = await run('print("before")\nraise ValueError("bad", 3)')
  assert.deepEqual([result.status, result.stdout, result.stderr], ['finished', 'before\n', ''])
  assert.deepEqual(result.exceptions[0]?.slice(0, 3), ['ValueError', ['bad', '3'], false])
})

test('a syntax error tells the position and that nothing ran', async () => {
  const result = await run('print("never")\nx = = 1')
  assert.equal(result.stdout, '')
  const [name, , before, traceback] = result.exceptions[0] ?? assert.fail('no exception')
  assert.deepEqual([name, before], ['SyntaxError', true])
  assert.match(traceback.join(''), /line 2\n +x = = 1\n +\^/)
})

test('sys.exit ends the execution, not the session', async () => {
  await run('kept = 1')
  const quiet = await run('import sys\nprint("on the way out")\nsys.exit()')
  assert.deepEqual([quiet.status, quiet.stdout, quiet.exceptions], ['finished', 'on the way out\n', []])
  assert.deepEqual((await exception('exit(3)')).slice(0, 2), ['SystemExit', ['3']])
  assert.equal(await value('kept'), '1')
})

test('input is asked for and given', async () => {
  const asked = await run(
    'name = input("name? ")\nimport getpass\nsecret = getpass.getpass("pass? ")\nprint(name, len(secret))',
  )
  assert.deepEqual([asked.status, asked.options], ['waiting-input', { prompt: 'name? ', isPassword: false }])
  const second = await run('Ann')
  assert.deepEqual([second.status, second.options], ['waiting-input', { prompt: 'pass? ', isPassword: true }])
  const done = await run('hush')
  assert.deepEqual([done.status, done.stdout], ['finished', 'Ann 4\n'])
})

test('pickle and multiprocessing work with what the session defines', async () => {
  assert.equal(
    await value(`import pickle
class Point:
    def __init__(self, x): self.x = x
pickle.loads(pickle.dumps(Point(5))).x`),
    '5',
  )
  assert.equal(
    await value(`import multiprocessing
def square(n): return n * n
with multiprocessing.Pool(2) as pool: squares = pool.map(square, range(4))
squares`),
    '[0, 1, 4, 9]',
  )
})

test('threads, asyncio, sqlite, temporary files and subprocesses work', async () => {
  assert.equal(
    await value(`import threading, sqlite3, tempfile, subprocess, concurrent.futures
with tempfile.TemporaryDirectory() as d:
    db = sqlite3.connect(d + '/db'); db.execute('create table t(a)'); db.execute('insert into t values (7)'); db.commit()
    seven = db.execute('select a from t').fetchone()[0]; db.close()
with concurrent.futures.ThreadPoolExecutor(4) as ex: total = sum(ex.map(lambda n: n, range(10)))
(seven, total, subprocess.check_output(['echo', 'hi'], text=True))`),
    "(7, 45, 'hi\\n')",
  )
})

test('numpy works, and runs within the session', async () => {
  assert.equal(await value('import numpy as np\nint(np.linalg.inv(np.eye(3) * 2).sum() * 2)'), '3')
})

test('figures become images without any configuration, SVG on request', async () => {
  const plotted = await run(
    'import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.title("one")\nplt.show()\nprint("after")',
  )
  assert.deepEqual([plotted.exceptions, plotted.stdout], [[], 'after\n'])
  assert.equal(plotted.media.length, 1)
  const [mime, content] = plotted.media[0] ?? assert.fail('no figure')
  assert.equal(mime, 'image/png')
  assert.match(content, /^data:image\/png;base64,iVBORw0KGgo/)
  const unshown = await run('fig, ax = plt.subplots()\n_ = ax.bar([1, 2], [3, 4])')
  assert.deepEqual(
    unshown.media.map(([type]) => type),
    ['image/png'],
  )
  const svg = await run("plt.rcParams['savefig.format'] = 'svg'\nplt.plot([1, 2])\nplt.show()")
  assert.equal(svg.media[0]?.[0], 'image/svg+xml')
  assert.match(svg.media[0]?.[1] ?? '', /<svg/)
})

test('output is cut at 524,288 characters, and the result says so', async () => {
  const { stdout, truncated } = await run('print("ä" * 524_289, end="")')
  assert.equal(stdout.length, 524_288)
  assert.equal(truncated, true)
  const exact = await run('import sys\nsys.stderr.write("x" * 524_288)\nNone')
  assert.deepEqual([exact.stderr.length, exact.truncated], [524_288, false])
})

test('odd output arrives whole: NUL, ANSI, emoji, lone surrogates, broken UTF-8', async () => {
  const { stdout } = await run(`import sys
print('nul \\0 ansi \\x1b[31mred\\x1b[0m 😀')
sys.stdout.buffer.write(b'broken \\xff\\n')
print('__proto__')`)
  assert.equal(stdout, 'nul \0 ansi \x1b[31mred\x1b[0m 😀\nbroken \ufffd\n__proto__\n')
  assert.equal((await run("print('\\ud800')\n'\\ud800'")).status, 'finished')
})

test('a long execution is answered in parts with Prefer: wait', async () => {
  const first = await server.run(
    id,
    'import time\nfor i in range(3):\n    print(i); time.sleep(0.5)',
    { prefer: 'wait=0' },
    'long',
  )
  assert.equal(first.status, 'continued')
  let text = first.stdout
  for (let status: string = first.status; status === 'continued'; ) {
    const part = await server.run(id, '', { prefer: 'wait=1' }, 'long')
    status = part.status
    text += part.stdout
  }
  assert.equal(text, '0\n1\n2\n')
})

test('what a thread prints after its execution ended comes with the next one', async () => {
  await run(`import threading
def late():
    go.wait(); print('late')
go = threading.Event()
thread = threading.Thread(target=late); thread.start()`)
  await run('go.set(); thread.join()')
  assert.equal(await value('thread.is_alive()'), 'False')
})

test('a session holds the common mistakes of a program: recursion, memory, deep nesting, closed descriptors', async () => {
  assert.equal((await exception('def f(): return f()\nf()'))[0], 'RecursionError')
  assert.ok(
    ['MemoryError', 'RecursionError', 'SyntaxError'].includes((await exception(`${'('.repeat(100_000)}`))[0]),
  )
  assert.equal(
    (await exception('import sys\nsys.stdout = None\nprint("nothing")\n1 / 0'))[0],
    'ZeroDivisionError',
  )
  assert.equal((await run('print("restored")')).stdout, 'restored\n')
  assert.equal(await value('2 + 2'), '4')
})

test('it runs on 32,768 KB, the least the kernel type asks for', async () => {
  const { body } = await server.call<{ langs: { lang: string; version: string }[] }>('GET', '/v1/langs')
  assert.match(body.langs.find(({ lang }) => lang === 'python3')?.version ?? '', /^Python 3\./)
  const small = await server.create({ resourceLimits: { maxMem: 32_768 } })
  assert.equal((await server.run(small, 'sum(range(1000))')).value?.['text/plain'], '499500')
  const { status, body: problem } = await server.call('POST', '/v1/kernel/create', {
    lang: 'python3',
    resourceLimits: { maxMem: 1 },
  })
  assert.deepEqual([status, problem.code], [400, 'limit-too-low'])
})
