import { CobError } from '../errors.ts'

const MAX_WAIT_S = 3600
/** One of a list's preferences: up to a comma that stands in no quoted string. */
const PREFERENCE = /(?:"(?:\\.|[^"\\])*"?|[^,"])+/g

/**
 * Seconds of the preference `wait` (RFC 7240, 4.3), 3600 at most; undefined without one. What is no number of seconds is ignored, as a
 * preference that cannot be honoured must be (section 2).
 */
export function parseWaitS(prefer: string | string[] | undefined): number | undefined {
  for (const [preference] of [prefer ?? []].flat().join(',').matchAll(PREFERENCE)) {
    const [, seconds] = /^\s*wait\s*=\s*"?(\d+)"?\s*(?:;|$)/i.exec(preference) ?? []
    if (seconds !== undefined) return Math.min(Number(seconds), MAX_WAIT_S)
  }
  return undefined
}

/** Of `offers`, best first, the one an `Accept` header (RFC 9110, 12.5.1) likes most. Throws `not-acceptable-type`. */
export function negotiate<Type extends string>(header: string | undefined, offers: readonly Type[]): Type {
  const weights = offers.map((offer) => weigh(header, offer))
  const best = Math.max(...weights)
  const chosen = offers[weights.indexOf(best)]
  if (best > 0 && chosen !== undefined) return chosen
  throw CobError.of('not-acceptable-type', { accept: header ?? '', offers: offers.join(', ') })
}

/** The weight of `type`, from 0 to 1; the most specific range decides. */
function weigh(header: string | undefined, type: string): number {
  if (header === undefined || header.trim() === '') return 1
  const wildcard = `${type.split('/')[0]}/*`
  const ranges = header.split(',').map((range) => {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.map((parameter) => /^q\s*=\s*(.*)$/.exec(parameter)?.[1]).find(Boolean)
    return { name, weight: weight === undefined ? 1 : Number(weight) || 0 }
  })
  const best = [type, wildcard, '*/*']
    .map((name) => ranges.find((range) => range.name === name))
    .find((range) => range !== undefined)
  return best?.weight ?? 0
}
