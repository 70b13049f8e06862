import { request } from 'node:http'
import type { RunResult } from '@cob/protocol'
import type { Attack, Outcome, Target } from './attack.ts'

/** None of them leads below the working directory, whatever stands there. */
const OUTSIDE = [
  '../../../../etc/passwd',
  'a/../../etc/passwd',
  '..%2f..%2f..%2f..%2fetc%2fpasswd',
  '%2e%2e/%2e%2e/%2e%2e/etc/passwd',
  '%2e%2e%2fetc%2fpasswd',
  '/etc/passwd',
  '//etc/passwd',
  '%2fetc%2fpasswd',
  './etc/passwd',
  'a%00b',
  'a%00/../b',
  '%c0%ae%c0%ae/etc/passwd',
  '%ff',
  '%',
  '....//....//etc/passwd',
  `${'x/'.repeat(200)}x`,
  'x'.repeat(300),
]
/** What the session has laid there. */
const TRAPS = [
  'link-to-passwd',
  'link-to-root/etc/passwd',
  'link-to-root',
  'fifo',
  'device',
  'proc-link/environ',
  'sock',
  'inner/link',
]
const LAY_TRAPS = `
import os, socket
os.makedirs('inner')
os.symlink('/etc/passwd', 'link-to-passwd'); os.symlink('/', 'link-to-root'); os.symlink('/dev/zero', 'device')
os.symlink('/proc/1', 'proc-link'); os.symlink('../link-to-passwd', 'inner/link')
os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock')
def tree(): return sorted(os.path.join(root, name) for root, folders, files in os.walk('.') for name in folders + files)
before = tree()`
const LEAK = /root:|daemon|work:x/

interface Answer {
  readonly status: number
  readonly text: string
}

/** A path as it is, without the tidying that fetch does. */
function send({ server }: Target, method: string, path: string, headers = {}, body = 'x'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const all = {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/octet-stream',
      'content-length': Buffer.byteLength(body),
      ...headers,
    }
    const outgoing = request({ hostname, port, path, method, headers: all }, (response) => {
      let text = ''
      response.on('error', reject)
      response.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** Puts a body that never ends until there is an answer; what that says. */
function pour({ server }: Target, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const headers = { authorization: `Bearer ${server.key}` }
    const outgoing = request({ hostname, port, path, method: 'PUT', headers }, (response) => {
      isAnswered = true
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        outgoing.destroy()
        resolve(`${response.statusCode} ${(JSON.parse(text) as { code: string }).code}`)
      })
    })
    const block = Buffer.alloc(65_536, 'x')
    let isAnswered = false
    const more = (): void => {
      while (!isAnswered && outgoing.write(block));
      if (!isAnswered) outgoing.once('drain', more)
    }
    outgoing.on('error', reject)
    more()
  })
}

const filesUrl = (kernel: string, path: string): string => `/v1/kernel/${kernel}/files/${path}`

function authorized({ server }: Target, init: RequestInit & { duplex?: 'half' } = {}): RequestInit {
  return { ...init, headers: { authorization: `Bearer ${server.key}`, ...init.headers } }
}

/** Sends to each path with each method; safe when all are refused and the session finds nothing changed. */
async function sendAll(
  target: Target,
  methods: readonly string[],
  paths: readonly string[],
): Promise<Outcome> {
  const { api, kernel } = target
  const answers: (Answer & { what: string })[] = []
  for (const method of methods) {
    for (const path of paths)
      answers.push({ what: `${method} ${path}`, ...(await send(target, method, filesUrl(kernel, path))) })
  }
  const wrong = answers.filter(({ status, text }) => status < 400 || status >= 500 || LEAK.test(text))
  const after = await api.run(kernel, 'tree() == before')
  if (after.value?.['text/plain'] !== 'True') return { safe: false, outcome: 'the session has other files' }
  const statuses = [...new Set(answers.map(({ status }) => status))].sort().join(', ')
  return wrong[0]
    ? { safe: false, outcome: `${wrong[0].what} was answered ${wrong[0].status}` }
    : { safe: true, outcome: `${answers.length} requests, all ${statuses}` }
}

function check({ stdout, exceptions }: RunResult, outcome: string): Outcome {
  return stdout.trim() === 'safe'
    ? { safe: true, outcome }
    : { safe: false, outcome: `${stdout} ${exceptions[0]?.[1]}` }
}

/** Reaching, through the API for files, what is not a file of the session; and using it to fill the server. */
export const FILE_PATHS: readonly Attack[] = [
  {
    name: 'paths that leave the working directory',
    layers: [],
    async run(target) {
      await target.api.run(target.kernel, LAY_TRAPS)
      return sendAll(target, ['GET', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'POST'], OUTSIDE)
    },
  },
  {
    name: 'links, FIFOs, devices and sockets',
    layers: [],
    async run(target) {
      await target.api.run(target.kernel, LAY_TRAPS)
      return sendAll(target, ['GET', 'PUT'], TRAPS)
    },
  },
  {
    name: 'filenames of an upload that leave the working directory',
    layers: [],
    async run(target) {
      const { api, kernel } = target
      await api.run(kernel, LAY_TRAPS)
      const names = [
        '../x',
        '/etc/x',
        'a/../../x',
        'link-to-root/tmp/x',
        'fifo',
        '',
        'a\\0b',
        '.',
        '..',
        'inner/link/x',
      ]
      const answers = []
      for (const name of names) {
        const body = `--b\r\nContent-Disposition: form-data; name="f"; filename="${name}"\r\n\r\nx\r\n--b--\r\n`
        const headers = { 'content-type': 'multipart/form-data; boundary=b' }
        answers.push((await send(target, 'POST', `/v1/kernel/${kernel}/upload`, headers, body)).status)
      }
      // A backslash and a zero are a name like others.
      const wrong = answers.filter((status, index) =>
        names[index] === 'a\\0b' ? status !== 201 : status < 400 || status > 499,
      )
      const after = await api.run(
        kernel,
        `import os\nos.unlink('a\\\\0b')\nprint('safe' if tree() == before and not os.path.exists('/tmp/x') else tree())`,
      )
      return wrong.length === 0
        ? check(after, answers.join(' '))
        : { safe: false, outcome: answers.join(' ') }
    },
  },
  {
    name: 'a folder swapped for a link in a loop during uploads and downloads',
    layers: [],
    async run(target) {
      const { api, kernel, server } = target
      await api.run(
        kernel,
        `
import os, threading
os.makedirs('/tmp/outside'); open('/tmp/outside/secret', 'w').write('MARKER')
os.makedirs('real'); open('real/secret', 'w').write('mine'); os.symlink('/tmp/outside', 'link')
go = True
def swap():
    while go:
        os.rename('real', 'd'); os.rename('d', 'real'); os.rename('link', 'd'); os.rename('d', 'link')
thread = threading.Thread(target=swap, daemon=True); thread.start()`,
      )
      const counts = new Map<number, number>()
      const leaks: string[] = []
      const round = async (index: number): Promise<void> => {
        const put = await send(target, 'PUT', filesUrl(kernel, `d/written-${index}`))
        const got = await send(target, 'GET', filesUrl(kernel, 'd/secret'))
        const tar = await send(target, 'GET', filesUrl(kernel, ''), { accept: 'application/x-tar' })
        const removed = await send(target, 'DELETE', filesUrl(kernel, `d/written-${index}`))
        for (const { status } of [put, got, tar, removed]) counts.set(status, (counts.get(status) ?? 0) + 1)
        if (got.text.includes('MARKER') || tar.text.includes('MARKER')) leaks.push(got.text)
        for (const { status } of [put, got, tar, removed]) if (status >= 500) leaks.push(`${status}`)
      }
      for (let index = 0; index < 150; index += 3)
        await Promise.all([round(index), round(index + 1), round(index + 2)])
      const after = await api.run(
        kernel,
        `go = False; thread.join()\nprint('safe' if os.listdir('/tmp/outside') == ['secret'] else os.listdir('/tmp/outside'))`,
      )
      if (leaks[0] !== undefined) return { safe: false, outcome: `${leaks[0]} ${server.pid}` }
      return check(after, [...counts].map(([status, count]) => `${count}× ${status}`).join(', '))
    },
  },
  {
    name: 'a sparse file of 1 TB downloaded',
    layers: [],
    async run(target) {
      const { api, kernel, server } = target
      const made = await api.run(
        kernel,
        `
import os
for power in range(40, 20, -1):
    try: fd = os.open('sparse', os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 1 << power); break
    except OSError: pass
print(os.fstat(fd).st_size)`,
      )
      const size = Number(made.stdout)
      const stop = new AbortController()
      const response = await fetch(`${server.url}${filesUrl(kernel, 'sparse')}`, {
        ...authorized(target),
        signal: stop.signal,
      })
      let taken = 0
      for await (const chunk of response.body ?? []) {
        taken += chunk.length
        if (taken > 512 * 1024 * 1024) break
      }
      stop.abort()
      const told = Number(response.headers.get('content-length'))
      const { status } = await api.run(kernel, '1')
      return {
        safe: told === size && status === 'finished',
        outcome: `${size} bytes could be made, ${Math.min(taken, size)} were taken`,
      }
    },
  },
  {
    name: 'an upload without end',
    layers: [],
    async run(target) {
      const { api, kernel } = target
      await api.run(kernel, 'state = 42')
      const outcome = await pour(target, filesUrl(kernel, 'endless'))
      const after = await api.run(
        kernel,
        `import os\nprint('safe' if state == 42 and os.listdir('.') == [] else os.listdir('.'))`,
      )
      return /^507 .*no-space/.test(outcome) ? check(after, outcome) : { safe: false, outcome }
    },
  },
  {
    name: 'a file with a lease on it',
    layers: [],
    async run(target) {
      const { api, kernel } = target
      const made = await api.run(
        kernel,
        `
import fcntl, os, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open('leased', os.O_CREAT | os.O_WRONLY); fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)`,
      )
      if (made.exceptions.length > 0) return { safe: true, outcome: 'leases are refused' }
      const asked = performance.now()
      const { status } = await send(target, 'GET', filesUrl(kernel, 'leased'))
      const ms = performance.now() - asked
      return { safe: status === 409 && ms < 1000, outcome: `${status} at once` }
    },
  },
  {
    name: 'more transfers at once than may be, none of which goes on',
    layers: [],
    async run(target) {
      const { api, kernel, server } = target
      await api.run(kernel, 'open("f", "wb").truncate(50_000_000)')
      const { hostname, port } = new URL(server.url)
      const started = await Promise.all(
        Array.from({ length: 40 }, () => {
          const headers = { authorization: `Bearer ${server.key}` }
          const outgoing = request({ hostname, port, path: filesUrl(kernel, 'f'), headers, agent: false })
          return new Promise<{ status: number; end: () => void }>((resolve, reject) => {
            outgoing.on('error', reject)
            outgoing.on('response', (response) => {
              response.on('error', () => {}).pause()
              resolve({ status: response.statusCode ?? 0, end: () => outgoing.destroy() })
            })
            outgoing.end()
          })
        }),
      )
      const refused = started.filter(({ status }) => status === 429).length
      const { status } = await api.run(kernel, '1')
      for (const { end } of started) end()
      return { safe: refused >= 24 && status === 'finished', outcome: `${refused} of 40 refused with 429` }
    },
  },
  {
    name: 'folders nested without end, and names of every kind',
    layers: [],
    async run(target) {
      const { api, kernel } = target
      await api.run(
        kernel,
        `
import os
top = os.getcwd()
os.makedirs('deep'); os.chdir('deep')
for _ in range(3000): os.mkdir('d'); os.chdir('d')
os.chdir(top)
for name in (b'\\xff\\xfe', b'\\x1b[2J', b'a\\nb', '\\u202e'.encode(), b'"quoted"', b'__proto__', b'x' * 255): open(name, 'w').close()`,
      )
      const listed = await send(target, 'GET', filesUrl(kernel, ''))
      const tar = await send(target, 'GET', filesUrl(kernel, 'deep'), { accept: 'application/x-tar' }).catch(
        () => ({ status: 0 }),
      )
      const removed = await send(target, 'DELETE', filesUrl(kernel, 'deep'))
      const names = (JSON.parse(listed.text) as { entries: unknown[] }).entries.length
      const { status } = await api.run(kernel, '1')
      return {
        safe:
          listed.status === 200 &&
          names === 8 &&
          tar.status < 500 &&
          removed.status === 403 &&
          status === 'finished',
        outcome: `${names} entries listed; the folder's archive ${tar.status || 'breaks off'}, its removal ${removed.status}`,
      }
    },
  },
]
