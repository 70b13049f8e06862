import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { openRecordFile, type RecordFile, type Records } from './record-file.ts'
import type { ExecutionRecord, LiveSession, SessionRecord, SessionStore } from './session-store.ts'

/** Sessions share so many files, each of which is copied now and then while everybody waits. */
const FILES = 16
/** Names of records; those of executions are their numbers. */
const SESSION = 'session'
const USED_AT = 'usedAt'
/** No session is called so. */
const CHECK = 'check'
const CHECK_BYTES = 8192
const isExecution = (name: string): boolean => /^\d/.test(name)

/** The sessions that go on, with their executions. Only for who holds the data folder. */
export interface SessionFiles
  extends Pick<
    SessionStore,
    'addSession' | 'useSessions' | 'putExecution' | 'dropExecutions' | 'liveSessions'
  > {
  /** Adds a session that was kept elsewhere, unless it is there already: whole, or not at all. */
  importSession(session: LiveSession): void
  /** Removes the session with its executions, if it is there. */
  removeSession(kernelId: string): void
  /** Throws where there is no room for another record. */
  check(): void
  /** Nothing is written any more. */
  close(): void
}

/** In `folder`, of which nothing is touched before it is needed. */
export function createSessionFiles(folder: string): SessionFiles {
  let files: readonly RecordFile[] = []
  let isClosed = false
  const closeAll = (): void => {
    for (const file of files) file.close()
    files = []
  }
  /** Anew, to find out what is in them. */
  const open = (): Records[] => {
    if (isClosed) throw new Error('the sessions are closed')
    closeAll()
    const opened: ReturnType<typeof openRecordFile>[] = []
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      for (let i = 0; i < FILES; i++) opened.push(openRecordFile(path.join(folder, `${i}`)))
    } catch (cause) {
      for (const { file } of opened) file.close()
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`The sessions in ${folder} cannot be read or written: ${why}. Mend that first.`, {
        cause,
      })
    }
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
  const addSession = (session: SessionRecord): void => {
    const { kernelId } = session
    const file = fileOf(kernelId)
    if (file.names(kernelId).includes(SESSION)) throw new Error(`there is a session ${kernelId}`)
    file.put(kernelId, SESSION, session)
  }
  /** What comes too late is of nobody. */
  const put = (kernelId: string, name: string, value: unknown): void => {
    const file = fileOf(kernelId)
    if (file.has(kernelId)) file.put(kernelId, name, value)
  }
  return {
    addSession,
    importSession({ session, executions }) {
      const { kernelId } = session
      const file = fileOf(kernelId)
      if (file.names(kernelId).includes(SESSION)) return
      for (const each of executions) file.put(kernelId, String(each.count), each)
      // Without this one the others are nothing.
      addSession(session)
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
    check() {
      // More than what may be left of a block that is in use.
      fileOf(CHECK).put(CHECK, CHECK, 'x'.repeat(CHECK_BYTES))
      fileOf(CHECK).drop(CHECK)
    },
    close() {
      isClosed = true
      closeAll()
    },
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
