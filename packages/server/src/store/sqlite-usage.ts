import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { END_REASONS } from '@cob/protocol'
import type { Period, UsageRecord, UsageStore } from './usage.ts'

const NEVER = Number.MAX_SAFE_INTEGER

export function createSqliteUsage(db: DatabaseSync): UsageStore {
  const greater = ['cpu_ms', 'cpu_ms_last_day', 'peak_memory_kb', 'executions', 'output_bytes']
    .map((column) => `${column} = max(${column}, excluded.${column})`)
    .join(', ')
  const insert = db.prepare(
    `INSERT INTO usage (kernel_id, access_key, lang, created_at, ended_at, reason, cpu_ms, cpu_ms_last_day, peak_memory_kb,
       executions, output_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (kernel_id) DO UPDATE SET ${greater}`,
  )
  const inPeriod = '(?1 IS NULL OR access_key = ?1) AND ended_at >= ?2 AND ended_at < ?3'
  const select = db.prepare(`SELECT * FROM usage WHERE ${inPeriod} AND id > ?4 ORDER BY id LIMIT ?5`)
  const sums = db.prepare(
    `SELECT access_key, count(*) AS sessions, sum(cpu_ms) AS cpu_ms, sum(executions) AS executions, sum(output_bytes) AS output_bytes,
       sum(ended_at - created_at) AS lifetime_ms, max(peak_memory_kb) AS peak_memory_kb
     FROM usage WHERE ${inPeriod} GROUP BY access_key ORDER BY access_key`,
  )
  const sumCpu = db.prepare(
    'SELECT coalesce(sum(cpu_ms_last_day), 0) AS cpu_ms FROM usage WHERE access_key = ? AND ended_at >= ?',
  )
  const prune = db.prepare('DELETE FROM usage WHERE ended_at < ?')
  const bounds = ({ accessKey, from, to }: Period) => [accessKey ?? null, from ?? 0, to ?? NEVER] as const
  return {
    addUsage(record) {
      insert.run(
        record.kernelId,
        record.accessKey,
        record.lang,
        record.createdAt,
        record.endedAt,
        record.reason,
        Math.round(record.cpuMs),
        Math.round(record.cpuMsLastDay),
        record.peakMemoryKb,
        record.executions,
        record.outputBytes,
      )
    },
    listUsage: (query) => select.all(...bounds(query), query.after ?? 0, query.limit).map(toRecord),
    sumUsage: (period) =>
      sums.all(...bounds(period)).map((row) => ({
        accessKey: String(row.access_key),
        sessions: Number(row.sessions),
        cpuMs: Number(row.cpu_ms),
        executions: Number(row.executions),
        outputBytes: Number(row.output_bytes),
        lifetimeMs: Number(row.lifetime_ms),
        peakMemoryKb: Number(row.peak_memory_kb),
      })),
    sumCpuMs: (accessKey, since) => Number(sumCpu.get(accessKey, since)?.cpu_ms),
    pruneUsage: (before) => void prune.run(before),
  }
}

function toRecord(row: Record<string, SQLOutputValue>): UsageRecord & { id: number } {
  return {
    id: Number(row.id),
    kernelId: String(row.kernel_id),
    accessKey: String(row.access_key),
    lang: String(row.lang),
    createdAt: Number(row.created_at),
    endedAt: Number(row.ended_at),
    reason: END_REASONS.find((reason) => reason === row.reason) ?? 'crashed',
    cpuMs: Number(row.cpu_ms),
    cpuMsLastDay: Number(row.cpu_ms_last_day),
    peakMemoryKb: Number(row.peak_memory_kb),
    executions: Number(row.executions),
    outputBytes: Number(row.output_bytes),
  }
}
