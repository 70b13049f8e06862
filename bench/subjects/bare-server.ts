/** `POST /` starts a Python, `POST /<id>` has it evaluate an expression, `DELETE /<id>` kills it. See `bare.ts`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'

const LOOP = `import json, sys
names = {}
for line in sys.stdin:
    print(json.dumps({'value': repr(eval(json.loads(line)['code'], names))}), flush=True)`

interface Interpreter {
  readonly child: ChildProcess
  readonly lines: AsyncIterator<string>
}
const interpreters = new Map<string, Interpreter>()

const server = createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8').on('data', (text: string) => {
    body += text
  })
  request.on('end', async () => {
    const id = request.url?.slice(1) ?? ''
    response.setHeader('content-type', 'application/json')
    response.end(await answer(request.method, id, body))
  })
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))

async function answer(method: string | undefined, id: string, body: string): Promise<string> {
  const known = interpreters.get(id)
  if (!known) {
    const child = spawn('/usr/bin/python3', ['-c', LOOP], { stdio: ['pipe', 'pipe', 'inherit'] })
    const created = randomUUID()
    interpreters.set(created, { child, lines: createInterface(child.stdout)[Symbol.asyncIterator]() })
    return JSON.stringify({ id: created })
  }
  if (method === 'DELETE') {
    interpreters.delete(id)
    known.child.kill('SIGKILL')
    await once(known.child, 'exit')
    return '{}'
  }
  known.child.stdin?.write(`${body}\n`)
  return (await known.lines.next()).value
}
