import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { startServer, type TestServer } from '../support/server.ts'
import { openTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server.close())

const prompts = (lines: string[]): boolean => lines.filter(Boolean).at(-1)?.endsWith('$') === true
const shows = (text: string) => (lines: string[]) => lines.includes(text)
const streamUrl = (kernel: string, what: string): string =>
  `${server.url.replace('http', 'ws')}/v1/stream/kernel/${kernel}/${what}`

test('a shell in the session: its files, its environment, its size, and characters however they are cut', async () => {
  const kernel = await server.create({ environ: { GREETING: 'grüß dich 😀' } })
  await server.run(kernel, 'open("made.txt", "w").write("by python")')
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  terminal.type('cat made.txt; echo; echo "$GREETING"; pwd; tput cols\r')
  await terminal.until((lines) =>
    ['by python', 'grüß dich 😀', '/home/work', '80'].every((text) => lines.includes(text)),
  )
  terminal.resize(40, 123)
  terminal.type('clear; stty size\r')
  await terminal.until(shows('40 123'))
  terminal.type('printf "\\xf0\\x9f"; sleep 0.2; printf "\\x98\\x80é\\n"\r')
  await terminal.until(shows('😀é'))
  assert.ok(!terminal.raw().includes('\ufffd'))
  terminal.type('exit 3\r')
  assert.deepEqual(await terminal.closed, { code: 1000, reason: 'the shell has ended with status 3' })
})

test('what is typed before there is a shell is not lost, and what a shell leaves behind does not keep the terminal', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  terminal.type('sleep 1000 &\rdisown; echo $((6 * 7)) > answer; exit\r')
  assert.equal((await terminal.closed).code, 1000)
  assert.equal((await server.run(kernel, 'print(open("answer").read())')).stdout, '42\n\n')
})

test('vim draws, is resized and writes its file', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  // A resize is told by vim itself when it has seen it: what it drew before would look the same.
  terminal.type(
    `clear; vim -u NONE -N -c 'au VimResized * call append("$", &columns."x".&lines)' story.txt\r`,
  )
  await terminal.until((lines) => lines[23]?.startsWith('"story.txt" [New') === true)
  terminal.type('iOnce upon a time\rthere was a cob.\x1b')
  await terminal.until((lines) => lines[0] === 'Once upon a time' && lines[1] === 'there was a cob.')
  assert.deepEqual(terminal.screen().slice(2, 23), Array(21).fill('~'))
  terminal.resize(10, 40)
  await terminal.until((lines) => lines.length === 10 && lines[2] === '40x10' && lines[8] === '~')
  assert.equal(terminal.screen()[0], 'Once upon a time')
  terminal.type(':wq\r')
  await terminal.until(prompts)
  const { stdout } = await server.run(kernel, 'print(open("story.txt").read())')
  assert.equal(stdout, 'Once upon a time\nthere was a cob.\n40x10\n\n')
  terminal.close()
})

test('top runs, and ^C comes to what runs', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  // Ends by itself: a key that comes while it sets up the terminal is dropped.
  terminal.type('top -d 0.2 -n 3\r')
  await terminal.until((lines) => lines.some((line) => /PID +USER/.test(line)))
  await terminal.until(prompts)
  terminal.type('sleep 1000\r')
  await terminal.until((lines) => lines.some((line) => line.endsWith('sleep 1000')))
  terminal.type('\x03')
  await terminal.until(prompts)
  terminal.type('echo status $?\r')
  await terminal.until(shows('status 130'))
  terminal.close()
})

test('a flood of output comes whole, and the terminal goes on', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  terminal.type('clear; yes | head -100000; echo the end\r')
  await terminal.until(shows('the end'))
  assert.equal(terminal.raw().split('y\r\n').length - 1, 100_000)
  terminal.type('clear; echo alive\r')
  await terminal.until(shows('alive'))
  terminal.close()
})

test('several terminals, each its own; a ninth is refused; a closed one makes room and ends what ran in it', async () => {
  const kernel = await server.create()
  const terminals = await Promise.all(Array.from({ length: 8 }, () => openTerminal(server, kernel)))
  for (const [index, terminal] of terminals.entries()) {
    await terminal.until(prompts)
    terminal.type(`ME=${index}; tty\r`)
    await terminal.until((lines) => lines.some((line) => line.startsWith('/dev/pts/')))
  }
  const ttys = terminals.map((terminal) => terminal.screen().find((line) => line.startsWith('/dev/pts/')))
  assert.equal(new Set(ttys).size, 8)
  const ninth = await openTerminal(server, kernel)
  assert.equal((await ninth.closed).code, 1001)
  assert.match(ninth.errors[0] ?? '', /8 terminals/)
  terminals[0]?.type('sleep 987654\r')
  await terminals[0]?.until((lines) => lines.some((line) => line.endsWith('sleep 987654')))
  terminals[0]?.close()
  const running = 'import subprocess\nsubprocess.run(["pgrep", "-f", "sleep 98765[4]"], stdout=-3).returncode'
  await until(async () => (await server.run(kernel, running)).value?.['text/plain'] === '1')
  const again = await openTerminal(server, kernel)
  await again.until(prompts)
  for (const terminal of [...terminals, again]) terminal.close()
})

test('a restart is obeyed although nothing reads what was pasted, which the new shell does not see', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  terminal.type('clear; echo busy; exec sleep 1000\r')
  await terminal.until(shows('busy'))
  for (let piece = 0; piece < 40; piece++) terminal.type(`${'#'.repeat(100_000)}\n`)
  terminal.send({ type: 'restart' })
  terminal.type('clear; echo $((6 * 7))\r')
  await terminal.until(shows('42'))
  assert.deepEqual(terminal.errors, ['Nothing reads what is typed; the rest of it is dropped.'])
  terminal.close()
})

test('a restart gives each terminal a new shell; the end of the session ends it', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  terminal.type('KEPT=yes; echo ready\r')
  await terminal.until(shows('ready'))
  await server.run(kernel, 'x = 1')
  await terminal.until(prompts)
  terminal.send({ type: 'restart' })
  await terminal.until((lines) => lines.filter((line) => line.endsWith('$')).length === 2)
  terminal.type('clear; echo "kept: $KEPT."\r')
  await terminal.until(shows('kept: .'))
  assert.equal((await server.run(kernel, 'x')).exceptions[0]?.[0], 'NameError')
  await server.destroy(kernel)
  assert.equal((await terminal.closed).code, 1001)
})

test('messages that make no sense are told so, and the terminal goes on', async () => {
  const kernel = await server.create()
  const terminal = await openTerminal(server, kernel)
  await terminal.until(prompts)
  terminal.socket.send('no json')
  terminal.send({ type: 'stdin', chars: '***' })
  terminal.send({ type: 'resize', rows: 0, cols: 99_999 })
  terminal.send({ type: 'dance' })
  terminal.socket.send(Buffer.from([0xff, 0xfe]))
  terminal.type('echo alive\r')
  await terminal.until(shows('alive'))
  assert.equal(terminal.errors.length, 5)
  terminal.socket.send('x'.repeat(2_000_000))
  assert.equal((await terminal.closed).code, 1009)
})

test('a stream needs a WebSocket, a key and a kernel', async () => {
  const kernel = await server.create()
  const plain = await server.call('GET', `/v1/stream/kernel/${kernel}/pty`)
  assert.deepEqual([plain.status, plain.body.code], [426, 'upgrade-required'])
  assert.equal(plain.headers.get('upgrade'), 'websocket')
  const authorization = `Bearer ${server.key}`
  for (const [url, headers, status] of [
    [streamUrl(kernel, 'pty'), {}, 401],
    [streamUrl(kernel, 'pty'), { authorization: 'Bearer a:b' }, 401],
    [streamUrl('TSSJT2Z4SnmQhxjWMnJljg', 'pty'), { authorization }, 404],
    [streamUrl('TSSJT2Z4SnmQhxjWMnJljg', 'events'), { authorization }, 404],
    [streamUrl(kernel, 'nothing'), { authorization }, 404],
  ] as const) {
    const socket = new WebSocket(url, { headers }).on('error', () => {})
    const [, response] = await once(socket, 'unexpected-response')
    assert.equal(response.statusCode, status)
    assert.match(response.headers['content-type'], /problem\+json/)
    socket.terminate()
  }
})

test('a stream of events tells what becomes of the session', async () => {
  const kernel = await server.create({ resourceLimits: { maxMem: 131_072 } })
  const socket = new WebSocket(streamUrl(kernel, 'events'), {
    headers: { authorization: `Bearer ${server.key}` },
  })
  const seen: unknown[] = []
  let came = Promise.withResolvers<void>()
  socket.on('message', (data) => {
    seen.push(JSON.parse(String(data)))
    came.resolve()
  })
  const closed = once(socket, 'close')
  const until = async (count: number): Promise<void> => {
    for (; seen.length < count; came = Promise.withResolvers()) await came.promise
  }
  await until(1)
  await server.call('PATCH', `/v1/kernel/${kernel}`)
  await server.run(kernel, 'x = b"x" * 112_000_000')
  await until(3)
  await server.destroy(kernel)
  await closed
  assert.deepEqual(seen, [
    { name: 'started' },
    { name: 'restarted' },
    { name: 'resource-warning', reason: 'memory' },
    { name: 'terminated', reason: 'user-requested' },
  ])
})

test('typing and pings keep a session from idling out', async () => {
  const kernel = await server.create({ resourceLimits: { idleTimeout: 600 } })
  const terminal = await openTerminal(server, kernel)
  const pinging = setInterval(() => terminal.send({ type: 'ping' }), 100)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal((await server.info(kernel)).status, 'idle')
  clearInterval(pinging)
  assert.equal((await terminal.closed).code, 1001)
  assert.equal((await server.gone(kernel)).reason, 'idle-timeout')
})
