import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { WebSocket } from 'ws'
import { endWithUs } from '../../test/support/server-process.ts'
import { createHttp, type Http } from './http.ts'
import type { Kernel, Subject } from './subject.ts'

const PROGRAM = '/usr/bin/jupyter-server'
const INSTALL = 'sudo apt-get install -y --no-install-recommends jupyter-server python3-ipykernel'
const READY_TIMEOUT_MS = 60_000
/** How long a kernel that has been restarted is given to answer, until it is asked again. */
const NUDGE_MS = 500

/** https://jupyter-client.readthedocs.io/en/stable/messaging.html */
interface Message {
  readonly channel: string
  readonly header: { readonly msg_type: string }
  readonly parent_header: { readonly msg_id?: string }
  readonly content: Record<string, unknown>
}

interface Answer {
  /** Of the value. */
  readonly text: string
  readonly bytes: number
}

/** Throws, saying what to install, where it is missing: asked before anything is measured. */
export function requireJupyter(): void {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing. Install it with:\n\n    ${INSTALL}\n`)
}

/** Debian's jupyter-server with ipykernel, as its front ends use it: REST for kernels, a WebSocket for code. */
export async function startJupyter(): Promise<Subject> {
  requireJupyter()
  const home = mkdtempSync(path.join(tmpdir(), 'jupyter-bench-'))
  const token = randomBytes(16).toString('hex')
  const port = await findFreePort()
  const child: ChildProcess = spawn(
    PROGRAM,
    [
      '--no-browser',
      '--allow-root',
      `--port=${port}`,
      `--ServerApp.root_dir=${home}`,
      `--ServerApp.token=${token}`,
      '--ServerApp.port_retries=0',
      // As delivered it drops what is printed fast.
      '--ServerApp.iopub_data_rate_limit=1e12',
      '--ServerApp.iopub_msg_rate_limit=1e12',
    ],
    { cwd: home, env: { HOME: home, PATH: '/usr/bin:/bin' }, stdio: 'ignore' },
  )
  endWithUs(child)
  const { call, close } = createHttp(`http://127.0.0.1:${port}`, { authorization: `token ${token}` })
  for (const giveUpAt = performance.now() + READY_TIMEOUT_MS; ; ) {
    try {
      await call('GET', '/api/status')
      break
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  return {
    name: 'jupyter-server',
    pid: child.pid ?? 0,
    async create() {
      const { id } = JSON.parse(await call('POST', '/api/kernels', { name: 'python3' })) as { id: string }
      const socket = new WebSocket(`ws://127.0.0.1:${port}/api/kernels/${id}/channels`, {
        headers: { authorization: `token ${token}` },
        perMessageDeflate: false,
      })
      await once(socket, 'open')
      return toKernel(id, socket, call)
    },
    settle: async () => {},
    async close() {
      await close()
      child.kill('SIGTERM')
      await once(child, 'exit')
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function toKernel(id: string, socket: WebSocket, call: Http['call']): Kernel {
  const session = randomUUID()
  const listeners = new Map<string, (message: Message, bytes: number) => void>()
  socket.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString('utf8')) as Message
    listeners.get(message.parent_header.msg_id ?? '')?.(message, data.length)
  })
  const ask = (type: string, content: object): { answered: Promise<Answer>; forget: () => void } => {
    const messageId = randomUUID()
    const header = {
      msg_id: messageId,
      msg_type: type,
      username: '',
      session,
      date: new Date().toISOString(),
      version: '5.3',
    }
    const message = {
      header,
      content,
      channel: 'shell',
      parent_header: {},
      metadata: {},
      buffers: [],
    }
    let text = ''
    let bytes = 0
    let hasReply = false
    let isIdle = false
    const answered = new Promise<Answer>((resolve) => {
      listeners.set(messageId, ({ header, content }, size) => {
        bytes += size
        if (header.msg_type === 'execute_result')
          text = (content.data as Record<string, string>)['text/plain'] ?? ''
        hasReply ||= header.msg_type.endsWith('_reply')
        isIdle ||= header.msg_type === 'status' && content.execution_state === 'idle'
        // As jupyter_client has it: the reply, and all that was printed.
        if (hasReply && isIdle) resolve({ text, bytes })
      })
    })
    socket.send(JSON.stringify(message))
    return { answered, forget: () => listeners.delete(messageId) }
  }
  const execute = async (code: string): Promise<Answer> => {
    const content = { code, silent: false, store_history: true, allow_stdin: false, stop_on_error: true }
    const { answered, forget } = ask('execute_request', content)
    const answer = await answered
    forget()
    return answer
  }
  /** As jupyter_client and JupyterLab do: what is sent to a kernel that is still starting, or comes from it, can be lost. */
  const nudge = async (): Promise<void> => {
    for (let isReady = false; !isReady; ) {
      const { answered, forget } = ask('kernel_info_request', {})
      const late = new Promise<false>((resolve) => setTimeout(resolve, NUDGE_MS, false))
      isReady = await Promise.race([answered.then(() => true), late])
      forget()
    }
  }
  return {
    run: async (code) => (await execute(code)).text,
    stream: async (code) => (await execute(code)).bytes,
    interrupt: async () => void (await call('POST', `/api/kernels/${id}/interrupt`)),
    async restart() {
      await call('POST', `/api/kernels/${id}/restart`)
      await nudge()
    },
    async destroy() {
      socket.terminate()
      await call('DELETE', `/api/kernels/${id}`)
    },
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
