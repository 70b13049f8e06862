import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createHttp } from './http.ts'
import type { Subject } from './subject.ts'

type Bare = Omit<Subject, 'create'> & {
  create(): Promise<{ run(code: string): Promise<string>; destroy(): Promise<void> }>
}

/**
 * The least that could be called a kernel server, in `bare-server.ts`: no sandbox, limits, keys, output or errors. What it takes is the
 * floor of this machine, and what shares of it stand for as other machines do.
 */
export async function startBare(): Promise<Bare> {
  const child: ChildProcess = spawn(
    process.execPath,
    [fileURLToPath(new URL('bare-server.ts', import.meta.url))],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const [url] = (await once(child.stdout?.setEncoding('utf8') ?? child, 'data')) as [string]
  const { call, close } = createHttp(url.trim())
  return {
    name: 'bare',
    pid: child.pid ?? 0,
    async create() {
      const { id } = JSON.parse(await call('POST', '/')) as { id: string }
      return {
        run: async (code) => (JSON.parse(await call('POST', `/${id}`, { code })) as { value: string }).value,
        destroy: async () => void (await call('DELETE', `/${id}`)),
      }
    },
    settle: async () => {},
    async close() {
      await close()
      child.kill()
      await once(child, 'exit')
    },
  }
}
