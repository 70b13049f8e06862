/** Writes what is generated from the code; with `--check` only tells what is out of date. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { configReference } from '../packages/server/src/config.ts'
import { errorsReference } from './generate-errors.ts'
import { openapiDocument } from './generate-openapi.ts'

const ROOT = path.dirname(import.meta.dirname)
const GENERATED = {
  'openapi.json': await openapiDocument(),
  'docs/reference/configuration.md': configReference(),
  'docs/reference/errors.md': errorsReference(),
}
const isCheck = process.argv.includes('--check')

for (const [name, content] of Object.entries(GENERATED)) {
  const file = path.join(ROOT, name)
  if (read(file) === content) continue
  if (isCheck) {
    console.error(`${name} is out of date: run npm run generate and commit the result.`)
    process.exitCode = 1
  } else {
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, content)
    console.log(`wrote ${name}`)
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
