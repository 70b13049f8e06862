import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, request as open } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startServerProcess } from '../../test/support/server-process.ts'
import { warmSettled } from '../../test/support/warm.ts'
import { createHttp } from './http.ts'
import type { Kernel, Subject } from './subject.ts'

export interface Cob extends Subject {
  create(): Promise<CobKernel>
  /** Ids of the kernels it has. */
  list(): Promise<string[]>
}

interface CobKernel extends Kernel {
  /** Starts code, and reads nothing of its output until the function that this resolves with is called, which gives up. */
  stall(code: string): Promise<() => void>
}

/** A server of its own; `environment` are settings beside those of a measurement. */
export async function startCob(environment: Record<string, string> = {}): Promise<Cob> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-bench-'))
  const server = await startServerProcess(dataDir, {
    COB_LOG_LEVEL: 'error',
    COB_MAX_KERNELS: '1100',
    COB_MAX_KERNELS_PER_KEY: '1100',
    COB_RATE_LIMIT: '1000000000',
    COB_RATE_LIMIT_ADDRESS: '1000000000',
    ...environment,
  })
  const headers = { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' }
  const { call, close } = createHttp(server.url, headers)
  const openStream = async (id: string, code: string): Promise<IncomingMessage> => {
    const request = open(new URL(`/v1/kernel/${id}`, server.url), {
      method: 'POST',
      headers: { ...headers, accept: 'application/x-ndjson' },
    })
    request.end(JSON.stringify({ code }))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return response
  }

  const toKernel = (id: string): CobKernel => ({
    async run(code) {
      const { result } = JSON.parse(await call('POST', `/v1/kernel/${id}`, { code })) as {
        result: { stdout: string; value?: Record<string, string> }
      }
      return result.value?.['text/plain'] ?? result.stdout
    },
    async stream(code) {
      const response = await openStream(id, code)
      let bytes = 0
      for await (const chunk of response) bytes += (chunk as Buffer).length
      return bytes
    },
    async stall(code) {
      const response = await openStream(id, code)
      response.on('error', () => {})
      return () => response.destroy()
    },
    interrupt: async () => void (await call('POST', `/v1/kernel/${id}/interrupt`)),
    restart: async () => void (await call('PATCH', `/v1/kernel/${id}`)),
    destroy: async () => void (await call('DELETE', `/v1/kernel/${id}`)),
  })

  return {
    name: 'cob',
    pid: server.pid,
    async create() {
      const { kernelId } = JSON.parse(await call('POST', '/v1/kernel/create', { lang: 'python3' })) as {
        kernelId: string
      }
      return toKernel(kernelId)
    },
    async list() {
      const { kernels } = JSON.parse(await call('GET', '/v1/kernels')) as { kernels: { kernelId: string }[] }
      return kernels.map(({ kernelId }) => kernelId)
    },
    settle: () => warmSettled(server.url),
    async close() {
      await close()
      await server.end('SIGTERM')
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
