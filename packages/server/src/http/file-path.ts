import { CobError } from '../errors.ts'
import type { FilePath } from '../sessions/files.ts'

/** As file systems have them: bytes of a name, names of a path. */
const MAX_NAME_BYTES = 255
const MAX_NAMES = 128

/**
 * The path that the rest of a URL names, as the router has matched and decoded it: what it took for the route cannot be a path here.
 * Throws `malformed-path` for one that is no path below the working directory, however it is written.
 */
export function filePathOf({ '*': rest = '' }: { readonly '*'?: string | undefined }): FilePath {
  return rest === '' ? [] : toFilePath(rest)
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
