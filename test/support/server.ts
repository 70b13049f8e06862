import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { loadConfig, type RunningServer, serve } from '@cob/server'
import { type ApiClient, createApiClient } from './api-client.ts'

export type TestServer = RunningServer & ApiClient

/**
 * A real server on a free port in this process, with everything real behind it. `environment` holds COB_* settings; the data folder
 * goes away with it.
 */
export async function startServer(environment: Record<string, string> = {}): Promise<TestServer> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-test-'))
  const config = loadConfig({ COB_PORT: '0', COB_LOG_LEVEL: 'error', COB_DATA_DIR: dataDir, ...environment })
  const server = await serve(config)
  return {
    ...server,
    ...createApiClient(server.url, server.key),
    async close() {
      await server.close()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
