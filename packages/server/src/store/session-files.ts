import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { openRecordFile, type RecordFile, type Records } from './record-file.ts'
import type { ExecutionRecord, LiveSession, SessionRecord, SessionStore } from './session-store.ts'

/** Sessions share so many files, each of which is copied now and then while everybody waits. */
const FILES = 16
/** Names of records; those of executions are their numbers. */
const SESSION = 'session'
const USED_AT = 'usedAt'
const isExecution = (name: string): boolean => /^\d/.test(name)

/** The sessions that go on, with their executions. */
export interface SessionFiles
  extends Pick<
    SessionStore,
    'addSession' | 'useSessions' | 'putExecution' | 'dropExecutions' | 'liveSessions'
  > {
  /** Removes the session with its executions, if it is there. */
  removeSession(kernelId: string): void
  close(): void
}

/** In `folder`, of which nothing is touched before it is needed. Once they are closed nothing more is written. */
export function createSessionFiles(folder: string): SessionFiles {
  let files: readonly RecordFile[] = []
  const close = (): void => {
    for (const file of files) file.close()
  }
  const open = (): Records[] => {
    close()
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const opened = Array.from({ length: FILES }, (_, i) => openRecordFile(path.join(folder, `${i}`)))
    files = opened.map(({ file }) => file)
    return opened.map(({ records }) => records)
  }
  /** Ids are random. */
  const fileOf = (kernelId: string): RecordFile => {
    if (files.length === 0) open()
    const file = files[kernelId.charCodeAt(0) % FILES]
    if (!file) throw new Error('a session must have an id')
    return file
  }
  /** What comes too late is of nobody. */
  const put = (kernelId: string, name: string, value: unknown): void => {
    const file = fileOf(kernelId)
    if (file.has(kernelId)) file.put(kernelId, name, value)
  }
  return {
    addSession(session) {
      const { kernelId } = session
      const file = fileOf(kernelId)
      if (file.has(kernelId)) throw new Error(`there is a session ${kernelId}`)
      file.put(kernelId, SESSION, session)
    },
    useSessions(used) {
      for (const { kernelId, usedAt } of used) put(kernelId, USED_AT, usedAt)
    },
    putExecution: (record) => put(record.kernelId, String(record.count), record),
    dropExecutions(kernelId, before) {
      const file = fileOf(kernelId)
      file.drop(
        kernelId,
        file.names(kernelId).filter((name) => isExecution(name) && Number(name) < before),
      )
    },
    removeSession: (kernelId) => fileOf(kernelId).drop(kernelId),
    liveSessions() {
      const sessions = open().flatMap((records) => [...records.values()].flatMap(toLiveSession))
      return sessions.sort(
        ({ session: a }, { session: b }) => a.createdAt - b.createdAt || (a.kernelId < b.kernelId ? -1 : 1),
      )
    },
    close,
  }
}

/** They were written from values of these types. */
function toLiveSession(records: ReadonlyMap<string, unknown>): LiveSession | [] {
  const session = records.get(SESSION) as SessionRecord | undefined
  const usedAt = records.get(USED_AT) as number | undefined
  const executions = [...records]
    .filter(([name]) => isExecution(name))
    .map(([, record]) => record as ExecutionRecord)
    .sort((a, b) => a.count - b.count)
  return session ? { session: { ...session, ...(usedAt !== undefined && { usedAt }) }, executions } : []
}
