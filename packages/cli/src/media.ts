import { accessSync, constants, existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Config, makeFolder } from '@cob/server'
import { CliError } from './cli-error.ts'
import { findImageProtocol, toEscapes } from './inline-image.ts'

/** Best first: what is shown of a MIME bundle. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/svg+xml': 'svg',
  'application/pdf': 'pdf',
  'text/html': 'html',
  'text/latex': 'tex',
  'text/markdown': 'md',
  'application/json': 'json',
}

/** Shows what code displays besides its output. */
export interface MediaShower {
  /** The richest form of a MIME bundle; `text/plain` is what there is of most. */
  show(bundle: Readonly<Record<string, unknown>>): void
}

/**
 * Pictures are shown in terminals that can; what a terminal cannot show is saved as `cob-<n>` in `dir` and its path told on standard
 * error. Text goes to standard output, also that of a table or a formula if it has one. Makes `dir`; throws `CliError` where that cannot be.
 */
export function createMediaShower(config: Pick<Config, 'images'>, dir: string): MediaShower {
  const protocol = findImageProtocol(config, process.env, process.stdout.isTTY === true)
  prepare(dir)
  let count = 0
  const save = (mime: string, bytes: Buffer): void => {
    let file: string
    do {
      count++
      file = path.join(dir, `cob-${count}.${EXTENSIONS[mime] ?? 'bin'}`)
    } while (existsSync(file))
    writeFileSync(file, bytes)
    process.stderr.write(`cob: ${mime} saved as ${file}\n`)
  }
  return {
    show(bundle) {
      const known = Object.keys(EXTENSIONS).find((candidate) => candidate in bundle)
      const plain = bundle['text/plain']
      if (typeof plain === 'string' && !known?.startsWith('image/')) {
        process.stdout.write(`${plain}\n`)
        // A table or a formula is best looked at elsewhere, but most know what its text says.
        if (known === undefined || !/html|latex|markdown|pdf/.test(known)) return
      }
      const mime = known ?? Object.keys(bundle)[0]
      if (mime === undefined) return
      const bytes = toBytes(mime, bundle[mime])
      const inline = protocol && mime === 'image/png' ? toEscapes(protocol, bytes) : undefined
      if (inline === undefined) save(mime, bytes)
      else process.stdout.write(inline)
    },
  }
}

/** Before any code runs: what it shows cannot be had again. */
function prepare(dir: string): void {
  try {
    makeFolder(dir)
    accessSync(dir, constants.W_OK)
  } catch (cause) {
    throw new CliError(`--out ${dir} cannot be used: ${cause instanceof Error ? cause.message : cause}`, 2, {
      cause,
    })
  }
}

/** Text and XML as they are, other strings are base64, all else is JSON (Jupyter's messaging, "display_data"). */
function toBytes(mime: string, content: unknown): Buffer {
  if (typeof content !== 'string') return Buffer.from(JSON.stringify(content, null, 2) ?? 'null')
  const isText = mime.startsWith('text/') || mime.endsWith('xml') || mime.endsWith('json')
  return isText ? Buffer.from(content) : Buffer.from(content, 'base64')
}
