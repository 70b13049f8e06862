/** Bytes of a file, the first at `offset`. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/**
 * What a `Range` header asks of a file of `size` bytes (RFC 9110, 14): undefined for all of it, also where the header is to be
 * ignored (another unit, several ranges, malformed); 'unsatisfiable' where none of it is there.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=\s*(\d{0,16})-(\d{0,16})\s*$/i.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length }
  }
  const offset = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== '' && Number(last) < offset) return undefined
  return offset >= size ? 'unsatisfiable' : { offset, length: end - offset + 1 }
}
