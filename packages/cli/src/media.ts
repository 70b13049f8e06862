import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const EXTENSIONS: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/svg+xml': 'svg',
  'text/html': 'html',
  'text/latex': 'tex',
  'text/markdown': 'md',
  'application/json': 'json',
}

/** Keeps what a program displays: plain text on standard output, anything else as files `cob-<n>` in `dir`, their paths on standard error. */
export function createMediaSaver(dir: string): { save(entry: readonly [string, string]): void } {
  let count = 0
  return {
    save([mime, content]) {
      if (mime === 'text/plain') {
        process.stdout.write(`${content}\n`)
        return
      }
      const encoded = /^data:[^,]*;base64,/.exec(content)?.[0]
      const bytes = encoded ? Buffer.from(content.slice(encoded.length), 'base64') : Buffer.from(content)
      mkdirSync(dir, { recursive: true })
      let file: string
      do {
        count++
        file = path.join(dir, `cob-${count}.${EXTENSIONS[mime] ?? 'bin'}`)
      } while (existsSync(file))
      writeFileSync(file, bytes)
      process.stderr.write(`cob: ${mime} saved as ${file}\n`)
    },
  }
}
