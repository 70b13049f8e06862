import { type Attack, ends, python } from './attack.ts'

/** The evaluator's end of its channel to the agent is user code's own: it may write what it likes there. */
const FORGE = `
import json, struct
def frame(payload, kind=0): return struct.pack('>IB', len(payload) + 1, kind) + payload
def forge(data, first=0, last=256):
    for fd in range(first, last):
        if fd in (1, 2): continue
        try: os.set_blocking(fd, False)
        except OSError: pass
        try: os.write(fd, data)
        except OSError: pass
`
const channel = (name: string, reasons: readonly (string | undefined)[], code: string): Attack =>
  ends(name, [], reasons, FORGE + code, { timeout: 2000 })

const ANY_END = [
  'crashed',
  'finished',
  'query-timeout',
  'out-of-memory',
  'OSError',
  'KeyError',
  'TypeError',
  'BrokenPipeError',
]

/** The channel itself, found among the evaluator's objects; `say(json)` goes out as if the evaluator had said it. */
const SPEAK = `
import gc, json, struct
found = {type(each).__name__: each for each in gc.get_objects() if type(each).__name__ in ('Channel', 'Evaluator')}
channel, ID = found['Channel']._socket, json.dumps(found['Evaluator']._execution).encode()
def say(data): channel.sendall(struct.pack('>IB', len(data) + 1, 0) + data)
`

/** A session says this over and over; its neighbour must not wait for it. */
function keepsServerBusy(name: string, code: string): Attack {
  return {
    name,
    layers: [],
    limits: { maxMem: 524_288, timeout: 5000 },
    async run({ api, kernel, neighbour }) {
      let isOver = false
      const flood = api.run(kernel, `${SPEAK}${code}\nwhile True: say(event)`).finally(() => {
        isOver = true
      })
      let worst = 0
      while (!isOver) {
        const start = performance.now()
        await api.run(neighbour, '1')
        worst = Math.max(worst, performance.now() - start)
      }
      const { reason } = await flood
      return { safe: worst < 1000, outcome: `${reason}; the neighbour waited ${worst.toFixed(0)} ms at most` }
    },
  }
}

/** Misusing the way between the code, the agent and the server. */
export const CONTROL_CHANNEL: readonly Attack[] = [
  channel(
    'forged frames on every descriptor',
    ANY_END,
    `
forge(frame(json.dumps({'type': 'reply', 'id': 'x', 'result': {}}).encode()))
forge(frame(json.dumps({'type': 'execute_reply', 'id': 'someone', 'status': 'ok', 'durationMs': 1}).encode()))
forge(frame(json.dumps({'id': '1', 'method': 'restart', 'params': {}}).encode()))`,
  ),
  channel('a frame that claims 4 GB', ANY_END, "forge(struct.pack('>I', 0xffffffff) + b'x' * 1000)"),
  channel('a frame of length 0', ANY_END, "forge(b'\\0\\0\\0\\0' * 100)"),
  channel('JSON nested 100,000 deep', ANY_END, "forge(frame(b'[' * 100_000 + b']' * 100_000))"),
  channel(
    'an event nested 100,000 deep',
    ANY_END,
    `
deep = b'{"a":' * 100_000 + b'1' + b'}' * 100_000
forge(frame(b'{"type":"display_data","id":null,"metadata":{},"data":{"text/plain":' + deep + b'}}'), 3, 4)`,
  ),
  channel(
    'bad UTF-8, NUL and lone surrogates in frames',
    ANY_END,
    `
forge(frame(b'{"type":"stream","name":"stdout","text":"\\xff\\xfe\\x00"}'), 3, 4)
forge(frame(b'{"type":"error","name":"\\\\ud800","args":["\\\\u0000"],"traceback":[],"before":false,"id":null}'), 3, 4)`,
  ),
  channel(
    'old, future and foreign ids',
    ANY_END,
    `
for id in ('0', 'x' * 64, '-1', '__proto__', 'constructor', 'execution'):
    forge(frame(json.dumps({'type': 'display_data', 'id': id, 'seq': 2 ** 53, 'data': {'text/plain': 'forged'}, 'metadata': {}}).encode()), 3, 4)
    forge(frame(json.dumps({'type': 'execute_reply', 'id': id, 'seq': 0, 'status': 'ok', 'durationMs': -1e308}).encode()), 3, 4)`,
  ),
  channel(
    'thousands of forged questions and ends',
    ANY_END,
    `
for n in range(5000):
    forge(frame(json.dumps({'type': 'input_request', 'id': None, 'prompt': 'x' * 1000, 'password': False}).encode()), 3, 4)`,
  ),
  channel(
    '__proto__ in what it says',
    ANY_END,
    `
forge(frame(b'{"type":"display_data","id":null,"metadata":{"__proto__":{"polluted":1}},"data":{"__proto__":{"polluted":1},"constructor":{"prototype":{}}}}'), 3, 4)
class P:
    def _repr_mimebundle_(self, **kw): return {'__proto__': {'polluted': 1}, 'text/plain': 'p'}
P()`,
  ),
  channel(
    'closing every descriptor',
    ANY_END,
    `
for fd in range(0, 256):
    try: os.close(fd)
    except OSError: pass`,
  ),
  channel(
    'putting other files in place of every descriptor',
    ANY_END,
    `
fd = os.open('/dev/zero', os.O_RDWR)
for other in range(0, 64):
    try: os.dup2(fd, other)
    except OSError: pass`,
  ),
  channel(
    'shutting the channel down and flooding it',
    ANY_END,
    `
s = socket.socket(fileno=os.dup(3)); s.setblocking(True)
while True: s.send(frame(b'{"type":"stream","name":"stdout","id":null,"text":"' + b'x' * 100_000 + b'"}'))`,
  ),
  ends('os._exit', [], ['crashed'], "print('last words', flush=True); os._exit(3)"),
  ends('kill(-1, SIGKILL)', [], ['crashed', 'ProcessLookupError'], 'os.kill(-1, 9)'),
  ends('SIGSEGV to itself', [], ['crashed'], 'os.kill(os.getpid(), 11); import time; time.sleep(5)'),
  ends('SIGSTOP to itself', [], ['query-timeout'], 'os.kill(os.getpid(), 19)', { timeout: 1000 }),
  python(
    'every signal to the agent',
    [],
    `
import time
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
time.sleep(0.1)
refusals.append('it goes on')`,
  ),
  {
    name: '__proto__, ANSI and NUL in output',
    layers: [],
    async run({ api, kernel }) {
      const { stdout, value, exceptions } = await api.run(
        kernel,
        String.raw`
print('\x1b[2J\x1b]0;title\x07\0\u202e', end='')
raise type('__proto__', (Exception,), {})('\0\x1b[31m')`,
      )
      const isPlain = ({} as Record<string, unknown>).polluted === undefined
      const safe =
        isPlain &&
        stdout === '\x1b[2J\x1b]0;title\x07\0\u202e' &&
        value === undefined &&
        exceptions[0]?.[0] === '__proto__'
      return { safe, outcome: 'passed on as JSON, character by character' }
    },
  },
  keepsServerBusy(
    'displays of 700,000 MIME types',
    `event = b'{"type":"display_data","id":' + ID + b',"metadata":{},"data":{' + b','.join(b'"%x":0' % n for n in range(700_000)) + b'}}'`,
  ),
  keepsServerBusy(
    'metadata of 40,000 keys',
    `event = b'{"type":"display_data","id":' + ID + b',"data":{},"metadata":{' + b','.join(b'"%x":0' % n for n in range(40_000)) + b'}}'`,
  ),
  keepsServerBusy(
    'values of 2.5 million empty lists',
    `event = b'{"type":"execute_result","id":' + ID + b',"metadata":{},"data":{"a/json":[' + b','.join([b'[]'] * 2_500_000) + b']}}'`,
  ),
]
