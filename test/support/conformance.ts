import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

/** What every kernel type has to show. */
export const CASES = [
  'hello',
  'state',
  'output-order',
  'error',
  'syntax-error',
  'input',
  'interrupt',
  'restart',
  'unicode',
  'large-output',
  'exit',
  'memory-limit',
] as const

const stepSchema = z.union([
  z.strictObject({ restart: z.literal(true) }),
  z.strictObject({ gone: z.string() }),
  z.strictObject({
    code: z.string(),
    /** Given one after the other where the code asks. */
    input: z.array(z.string()).optional(),
    /** The code is interrupted once it has printed this. */
    interruptAfter: z.string().optional(),
    status: z.string().optional(),
    reason: z.string().optional(),
    stdout: z.string().optional(),
    stdoutMatches: z.string().optional(),
    stderrMatches: z.string().optional(),
    value: z.string().optional(),
    /** Name of the exception, a regular expression; without, there must be none. */
    exception: z.string().optional(),
    exceptionMatches: z.string().optional(),
    before: z.boolean().optional(),
    /** Characters of stdout. */
    length: z.int().optional(),
    truncated: z.boolean().optional(),
  }),
])
export type Step = z.infer<typeof stepSchema>
const caseSchema = z.union([z.strictObject({ notApplicable: z.string() }), z.array(stepSchema)])
export type Case = z.infer<typeof caseSchema>
const fileSchema = z.strictObject({
  limits: z.record(z.string(), z.int()).optional(),
  cases: z.partialRecord(z.enum(CASES), caseSchema),
})
export type Conformance = z.infer<typeof fileSchema> & { readonly lang: string }

const LANGS = path.resolve(import.meta.dirname, '../../langs')

/** The cases of all kernel types: `conformance.json` of each, or, for a folder that holds several types, one by type. */
export function loadConformance(): Conformance[] {
  return readdirSync(LANGS)
    .map((folder) => ({ folder, file: path.join(LANGS, folder, 'conformance.json') }))
    .filter(({ file }) => existsSync(file))
    .flatMap(({ folder, file }) => {
      const json = JSON.parse(readFileSync(file, 'utf8'))
      if ('cases' in json) return [{ lang: folder, ...fileSchema.parse(json) }]
      return Object.entries(json).map(([name, own]) => ({
        lang: `${folder}:${name}`,
        ...fileSchema.parse(own),
      }))
    })
}
