import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Config, serve } from '@cob/server'
import { type Client, connect, createClient, findServer, type Target } from './client.ts'

/** Uses the server there is, or one of its own that lives for this use only. */
export async function withServer<T>(
  config: Config,
  target: Target,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  if ((target.url ?? config.url ?? findServer(config)) !== undefined) return use(createClient(config, target))
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-run-'))
  try {
    const server = await serve(
      {
        ...config,
        dataDir,
        host: '127.0.0.1',
        port: 0,
        logLevel: 'error',
        tlsCert: undefined,
        tlsKey: undefined,
      },
      { isTemporary: true },
    )
    try {
      return await use(connect(server.url, server.key))
    } finally {
      await server.close()
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}
