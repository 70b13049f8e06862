import { z } from 'zod'
import { CobError } from '../errors.ts'

const MAX_SHOWN = 80
const MAX_PROBLEMS = 10
const MAX_KEYS = 10

/** Checks a body against its schema; the error names each field, its value and what would be accepted. */
export function createValidator({ schema }: { schema: unknown }) {
  // Every schema of our routes is one of zod's.
  const checker = schema as z.ZodType
  return (data: unknown): { value: unknown } | { error: Error } => {
    const parsed = checker.safeParse(data)
    if (parsed.success) return { value: parsed.data }
    const problems = parsed.error.issues
      .slice(0, MAX_PROBLEMS)
      .map((issue) => toSentence(issue, data, checker))
    return { error: CobError.of('invalid-request', { problem: problems.join(' ') }) }
  }
}

function toSentence(issue: z.core.$ZodIssue, data: unknown, schema: z.ZodType): string {
  if (issue.path.length === 0 && (data ?? undefined) === undefined)
    return `The body is missing; send a JSON object${fieldsOf(schema, [])}.`
  const name = issue.path.length === 0 ? 'The body' : shorten(issue.path.join('.'))
  if (issue.code === 'unrecognized_keys') {
    const where = issue.path.length === 0 ? '' : ` in ${name}`
    return `Unknown field ${list(issue.keys)}${where}; send a JSON object${fieldsOf(schema, issue.path)}.`
  }
  // What is wrong with the name stands inside.
  if (issue.code === 'invalid_key')
    return `${name} is no name that is accepted: ${issue.issues.map(({ message }) => message).join(', ')}.`
  const value = issue.path.reduce<unknown>((inner, step) => Object(inner)[step], data)
  return value === undefined
    ? `${name} is missing: ${issue.message}.`
    : `${name} is ${show(value)}: ${issue.message}.`
}

function list(keys: readonly string[]): string {
  const more = keys.length > MAX_KEYS ? ` and ${keys.length - MAX_KEYS} more` : ''
  return keys.slice(0, MAX_KEYS).map(show).join(', ') + more
}

function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}

function fieldsOf(schema: z.ZodType, path: readonly PropertyKey[]): string {
  let inner: unknown = schema
  for (const step of [...path, undefined]) {
    while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable) inner = inner.unwrap()
    if (!(inner instanceof z.ZodObject)) return ''
    if (step !== undefined) inner = inner.shape[String(step)]
  }
  const names = inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
  return names.length === 0 ? ' without fields' : ` with ${names.join(', ')}`
}

function show(value: unknown): string {
  // Never the inside of it: it may be nested deeper than the stack goes.
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return shorten(
    JSON.stringify(typeof value === 'string' ? value.slice(0, MAX_SHOWN + 1) : value) ?? String(value),
  )
}
