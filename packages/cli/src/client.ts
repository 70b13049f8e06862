import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { Completion, CreateKernel, ExecutionEvent, KernelInfo, Problem } from '@cob/protocol'
import type { Config } from '@cob/server'
import { CliError } from './cli-error.ts'
import { distrustOf, trustCertificates } from './trust.ts'

/** Which server, and as whom; each may be left to the settings or the data folder. */
export interface Target {
  readonly url?: string
  readonly key?: string
}

export interface Client {
  /** Any other request; throws `CliError` for an answer that is an error. */
  call<T>(method: string, target: string, body?: unknown): Promise<T>
  create(request: CreateKernel): Promise<{ kernelId: string; created: boolean }>
  list(): Promise<KernelInfo[]>
  info(id: string): Promise<KernelInfo>
  restart(id: string): Promise<void>
  destroy(id: string): Promise<void>
  /** What happens when code runs, as it happens; goes on after a connection that broke. */
  execute(id: string, code: string): AsyncGenerator<ExecutionEvent>
  /** Supplies what the running code asks for; false when it does not wait for it. */
  input(id: string, text: string): Promise<boolean>
  /** False when nothing runs. */
  interrupt(id: string): Promise<boolean>
  complete(id: string, code: string, cursor: number): Promise<Completion>
  /** Reads a file, or a folder as a tar archive. */
  download(id: string, path: string): Promise<{ isFolder: boolean; content: Readable }>
  upload(id: string, path: string, content: Readable, sizeBytes: number): Promise<void>
  /** Removes a file, or a folder with all that is in it. */
  remove(id: string, path: string): Promise<void>
  /** Where a terminal of the kernel is, and what a WebSocket says to get there. */
  terminal(id: string): { readonly url: string; readonly headers: Readonly<Record<string, string>> }
}

/** Connections one execution may take: each goes on where the last one broke. */
const MAX_CONNECTIONS = 10

/** The address of the server that uses the data folder; undefined if none does. */
export function findServer({ dataDir }: Config): string | undefined {
  const text = readIfThere(path.join(dataDir, 'server.json'))
  // Written by the server; a process that is gone left it behind.
  const info = text === undefined ? undefined : (JSON.parse(text) as { url: string; pid: number })
  return info && isAlive(info.pid) ? info.url : undefined
}

/** Throws `CliError` when there is no server or no key to talk to it with. */
export function createClient(config: Config, target: Target): Client {
  const url = target.url ?? config.url ?? findServer(config)
  if (url === undefined)
    throw new CliError(
      `No server runs on ${config.dataDir}. Start one with "cob serve", or name one with --url.`,
      3,
    )
  const key = target.key ?? config.key ?? readIfThere(path.join(config.dataDir, 'bootstrap-key'))?.trim()
  if (key === undefined)
    throw new CliError(`No key: ${config.dataDir} has none. Give one with --key or COB_KEY.`, 2)
  if (config.ca !== undefined) trustCertificates(config.ca)
  return connect(url.replace(/\/$/, ''), key)
}

export function connect(url: string, key: string): Client {
  const request = async (
    method: string,
    target: string,
    headers: Record<string, string>,
    body?: RequestInit['body'],
  ): Promise<Response> => {
    let response: Response
    try {
      response = await fetch(url + target, {
        method,
        headers: { authorization: `Bearer ${key}`, ...headers },
        ...(body === undefined ? {} : { body, duplex: 'half' }),
      })
    } catch (cause) {
      const why = distrustOf(cause)
      throw new CliError(
        why === undefined
          ? `The server at ${url} does not answer. Is it running? Start it with "cob serve".`
          : `The certificate of the server at ${url} is not trusted: ${why}. COB_CA names a file of certificates to trust.`,
        3,
        { cause },
      )
    }
    if (response.ok) return response
    const problem = parseProblem(await response.text())
    throw new CliError(
      problem ? `${problem.title}: ${problem.detail}` : `The server answered ${response.status}.`,
      1,
      { cause: problem?.code },
    )
  }
  // The server's own schemas fix what each answer is.
  const call = async <T>(method: string, target: string, body?: unknown): Promise<T> => {
    const hasBody = body !== undefined
    const response = await request(
      method,
      target,
      hasBody ? { 'content-type': 'application/json' } : {},
      hasBody ? JSON.stringify(body) : undefined,
    )
    const text = await response.text()
    return (text === '' ? undefined : JSON.parse(text)) as T
  }
  const kernel = (id: string): string => `/v1/kernel/${encodeURIComponent(id)}`
  const file = (id: string, name: string): string => {
    const steps = name.split('/')
    // A URL with them is another one to whatever sends it.
    if (steps.some((step) => step === '.' || step === '..'))
      throw new CliError(`"${name}" is not accepted: a path there has no steps "." and "..".`, 2)
    return `${kernel(id)}/files/${steps.map(encodeURIComponent).join('/')}`
  }
  async function* execute(id: string, code: string): AsyncGenerator<ExecutionEvent> {
    const accept = { accept: 'application/x-ndjson' }
    const json = { ...accept, 'content-type': 'application/json' }
    let response = await request('POST', kernel(id), json, JSON.stringify({ code }))
    const executionId = response.headers.get('x-execution-id') ?? ''
    let last = 0
    for (let connection = 1; ; connection++) {
      try {
        for await (const event of parseEvents(response)) {
          last = event.id
          yield event
          if (event.type === 'finished') return
        }
        throw new Error('the stream ended early')
      } catch (cause) {
        if (connection === MAX_CONNECTIONS) throw new CliError('The connection broke.', 3, { cause })
      }
      const events = `${kernel(id)}/executions/${executionId}/events`
      response = await request('GET', events, {
        ...accept,
        ...(last > 0 && { 'last-event-id': String(last) }),
      })
    }
  }
  return {
    call,
    create: (body) => call('POST', '/v1/kernel/create', body),
    list: async () => (await call<{ kernels: KernelInfo[] }>('GET', '/v1/kernels')).kernels,
    info: (id) => call('GET', kernel(id)),
    restart: (id) => call('PATCH', kernel(id)),
    destroy: (id) => call('DELETE', kernel(id)),
    execute,
    input: (id, text) => unless('not-waiting', call('POST', `${kernel(id)}/input`, { text })),
    interrupt: (id) => unless('nothing-runs', call('POST', `${kernel(id)}/interrupt`)),
    complete: (id, code, cursor) => call('POST', `${kernel(id)}/complete`, { code, cursor }),
    async download(id, name) {
      const response = await request('GET', file(id, name), { accept: 'application/x-tar' })
      const isFolder = response.headers.get('content-type')?.startsWith('application/x-tar') === true
      // Node's two types of web streams are the same object.
      const content = Readable.fromWeb((response.body ?? new Blob([]).stream()) as ReadableStream)
      return { isFolder, content }
    },
    async upload(id, name, content, sizeBytes) {
      // As above.
      const body = Readable.toWeb(content) as unknown as RequestInit['body']
      const headers = { 'content-length': String(sizeBytes), 'content-type': 'application/octet-stream' }
      await request('PUT', file(id, name), headers, body)
    },
    remove: (id, name) => call('DELETE', file(id, name)),
    terminal: (id) => ({
      url: `${url.replace(/^http/, 'ws')}/v1/stream${kernel(id).slice('/v1'.length)}/pty`,
      headers: { authorization: `Bearer ${key}` },
    }),
  }
}

/** False when the server refused with this code. */
async function unless(code: string, request: Promise<unknown>): Promise<boolean> {
  try {
    await request
    return true
  } catch (error) {
    if (error instanceof CliError && error.cause === code) return false
    throw error
  }
}

async function* parseEvents({ body }: Response): AsyncGenerator<ExecutionEvent> {
  let rest = ''
  for await (const chunk of body ?? []) {
    const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const event = JSON.parse(line) as ExecutionEvent | { type: 'heartbeat' }
      if (event.type !== 'heartbeat') yield event
    }
  }
}

function parseProblem(text: string): Problem | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null && 'detail' in parsed
      ? (parsed as Problem)
      : undefined
  } catch {
    return undefined
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
