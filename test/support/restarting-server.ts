import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { ExecutionEvent } from '@cob/protocol'
import { createSessionFiles } from '../../packages/server/src/store/session-files.ts'
import { type ApiClient, createApiClient } from './api-client.ts'
import { resumeEvents } from './events.ts'
import { type Footprint, footprint } from './footprint.ts'
import { type ServerProcess, startServerProcess } from './server-process.ts'

/** Servers one after the other on one data folder, each a process. */
export interface RestartingServer {
  readonly dataDir: string
  readonly url: string
  readonly key: string
  /** To the server there is now. */
  readonly api: ApiClient
  /** Resolves when there is a server; at once while there is one. */
  readonly up: Promise<void>
  start(environment?: Record<string, string>): Promise<void>
  /** One that is killed so many ms after it was started: perhaps before anybody can reach it. */
  startAndKill(afterMs: number): Promise<void>
  /** Sends the signal; resolves with the status when the server is gone. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
  footprint(): Footprint
  /** What a session is recorded with of its sandbox; undefined without a record. */
  recorded(kernel: string): RecordedSandbox | undefined
  /** What the server there is now has logged. */
  log(): string
  /** Ends the last one, with its sessions, and removes the folder. */
  close(): Promise<void>
}

export interface RecordedSandbox {
  readonly id: string
  /** The host's ids of its first processes. */
  readonly outer: { readonly pid: number }
  readonly inner: { readonly pid: number }
  readonly cgroups: readonly { readonly dir: string }[]
  /** Where it has a network. */
  readonly egress: { readonly pid: number } | null
}

/** Of a session that a server with this data folder has recorded. */
export function recordedSandbox(dataDir: string, kernel: string): RecordedSandbox | undefined {
  // Of a copy: whoever opens the files themselves may write to them.
  const copy = mkdtempSync(path.join(tmpdir(), 'cob-recorded-'))
  try {
    cpSync(path.join(dataDir, 'sessions'), copy, { recursive: true })
    const files = createSessionFiles(copy)
    const found = files.liveSessions().find(({ session }) => session.kernelId === kernel)
    files.close()
    // Whose description has at least that (packages/server/src/backend/local/description.ts).
    return found?.session.sandbox as RecordedSandbox | undefined
  } finally {
    rmSync(copy, { recursive: true })
  }
}

/** `wrapper`: a command that runs the server. */
export function createRestartingServer(
  environment: Record<string, string> = {},
  wrapper: readonly string[] = [],
): RestartingServer {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-survival-'))
  let server: ServerProcess | undefined
  let api: ApiClient | undefined
  let up = Promise.withResolvers<void>()
  const running = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('there is no server')
    return value
  }
  const end = async (signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> => {
    up = Promise.withResolvers<void>()
    const ending = running(server)
    server = undefined
    return ending.end(signal)
  }
  return {
    dataDir,
    get url() {
      return running(server).url
    },
    get key() {
      return running(server).key
    },
    get api() {
      return running(api)
    },
    get up() {
      return up.promise
    },
    async start(more = {}) {
      try {
        server = await startServerProcess(dataDir, { COB_MAX_WARM: '0', ...environment, ...more }, wrapper)
      } catch (error) {
        // Whoever waits for it must not wait for ever; where nobody does, the caller has the error.
        up.promise.catch(() => {})
        up.reject(error)
        throw error
      }
      api = createApiClient(server.url, server.key)
      up.resolve()
    },
    async startAndKill(afterMs) {
      const killing = ['/usr/bin/timeout', '-s', 'KILL', String(afterMs / 1000)]
      const started = await startServerProcess(dataDir, { COB_MAX_WARM: '0', ...environment }, killing).catch(
        () => {},
      )
      await started?.ended
    },
    end,
    footprint: () => footprint(dataDir, running(server).pid),
    recorded: (kernel) => recordedSandbox(dataDir, kernel),
    log: () => running(server).log(),
    async close() {
      if (server) await end('SIGINT')
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** The events of an execution from number `after` + 1 to its end, whatever becomes of the server meanwhile. */
export async function* followAcross(
  server: RestartingServer,
  kernel: string,
  executionId: string,
  after = 0,
): AsyncGenerator<ExecutionEvent> {
  for (let last = after; ; ) {
    await server.up
    try {
      for await (const event of resumeEvents(
        { url: server.url, key: server.key, kernel },
        executionId,
        last,
      )) {
        // The server's own signs of life have no number.
        if (!('id' in event)) continue
        last = event.id
        yield event
        if (event.type === 'finished') return
      }
    } catch (error) {
      if (error instanceof Error && /^\d+: /.test(error.message) && !error.message.startsWith('503'))
        throw error
    }
    await new Promise(setImmediate)
  }
}
