/** A table with a header line (RFC 4180), of rows that have the same fields. */
export function toCsv<Row extends object>(
  fields: readonly (keyof Row & string)[],
  rows: readonly Row[],
): string {
  const lines = [fields, ...rows.map((row) => fields.map((field) => toCell(row[field])))]
  return lines.map((cells) => `${cells.join(',')}\r\n`).join('')
}

function toCell(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
