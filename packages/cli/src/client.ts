import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { CreateKernel, KernelInfo, Problem, RunCode, RunResult } from '@cob/protocol'
import type { Config } from '@cob/server'
import { CliError } from './cli-error.ts'

/** Which server, and as whom; each may be left to the settings or the data folder. */
export interface Target {
  readonly url?: string
  readonly key?: string
}

export interface Client {
  create(request: CreateKernel): Promise<{ kernelId: string; created: boolean }>
  list(): Promise<KernelInfo[]>
  info(id: string): Promise<KernelInfo>
  restart(id: string): Promise<void>
  destroy(id: string): Promise<void>
  /** Waits `waitS` seconds at most before it answers `continued`. */
  run(id: string, request: RunCode, waitS: number): Promise<RunResult>
}

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
  return connect(url.replace(/\/$/, ''), key)
}

export function connect(url: string, key: string): Client {
  // The server's own schemas fix what each answer is.
  const call = async <T>(
    method: string,
    target: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> => {
    let response: Response
    try {
      response = await fetch(url + target, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (cause) {
      throw new CliError(
        `The server at ${url} does not answer. Is it running? Start it with "cob serve".`,
        3,
        { cause },
      )
    }
    const text = await response.text()
    if (response.ok) return (text === '' ? undefined : JSON.parse(text)) as T
    const problem = parseProblem(text)
    throw new CliError(
      problem ? `${problem.title}: ${problem.detail}` : `The server answered ${response.status}.`,
      1,
    )
  }
  const kernel = (id: string): string => `/v1/kernel/${encodeURIComponent(id)}`
  return {
    create: (request) => call('POST', '/v1/kernel/create', request),
    list: async () => (await call<{ kernels: KernelInfo[] }>('GET', '/v1/kernels')).kernels,
    info: (id) => call('GET', kernel(id)),
    restart: (id) => call('PATCH', kernel(id)),
    destroy: (id) => call('DELETE', kernel(id)),
    run: async (id, request, waitS) =>
      (await call<{ result: RunResult }>('POST', kernel(id), request, { prefer: `wait=${waitS}` })).result,
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
