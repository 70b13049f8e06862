import { CliError } from './cli-error.ts'

/** A whole number that is not negative. */
export function parseWhole(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new CliError(`"${text}" is not a whole number.`, 2)
}

/** ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00Z; in UTC as the API takes it. */
export function parseInstant(text: string): string {
  const at = /^\d{4}-\d\d-\d\d(T|$)/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(at)) return new Date(at).toISOString()
  throw new CliError(`"${text}" is not a time such as 2026-01-31 or 2026-01-31T12:00:00Z.`, 2)
}
