import { CobError } from '../errors.ts'
import type { FilePath } from '../sessions/files.ts'

const ROUTE = /^\/v1\/kernel\/[^/]*\/files(?:\/(.*))?$/s
/** As file systems have them: bytes of a name, names of a path. */
const MAX_NAME_BYTES = 255
const MAX_NAMES = 128

/**
 * The path that a URL of the files route names, decoded once. Throws `malformed-path` for one that is no path below the working
 * directory, however it is written.
 */
export function filePathOf(url: string): FilePath {
  const [target = ''] = url.split('?', 1)
  const encoded = (ROUTE.exec(target)?.[1] ?? '').replace(/\/$/, '')
  if (encoded === '') return []
  try {
    return toFilePath(decodeURIComponent(encoded))
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw CobError.of('malformed-path', { path: encoded, problem: 'its percent-encoding is not UTF-8' })
  }
}

/** As {@link filePathOf}, of a path as it is. */
export function toFilePath(path: string): FilePath {
  const names = path.split('/')
  const problem =
    names.length > MAX_NAMES
      ? `it is more than ${MAX_NAMES} names deep`
      : names.map(problemOf).find((found) => found !== undefined)
  if (problem === undefined) return names
  throw CobError.of('malformed-path', { path, problem })
}

function problemOf(name: string, index: number): string | undefined {
  if (name === '') return index === 0 ? 'it is absolute' : 'it has an empty name'
  if (name === '.' || name === '..') return `it has the name "${name}"`
  if (name.includes('\0')) return 'it has a NUL character'
  if (!name.isWellFormed()) return 'it is not Unicode'
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `it has a name of more than ${MAX_NAME_BYTES} bytes`
  return undefined
}
