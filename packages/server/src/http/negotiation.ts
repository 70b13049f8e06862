import { CobError } from '../errors.ts'

const MAX_WAIT_S = 3600
/** One of a list's preferences: up to a comma that stands in no quoted string. */
const PREFERENCE = /(?:"(?:\\.|[^"\\])*"?|[^,"])+/g

/** Seconds of the preference `wait` (RFC 7240, 4.3); undefined without one. Throws `invalid-request` for one that is not a number. */
export function parseWaitS(prefer: string | string[] | undefined): number | undefined {
  for (const [preference] of [prefer ?? []].flat().join(',').matchAll(PREFERENCE)) {
    const [name, value = ''] = /^\s*wait\s*(?:=\s*"?([^";]*)"?\s*)?(?:;.*)?$/i.exec(preference) ?? []
    if (name === undefined) continue
    const seconds = Number(value.trim())
    if (/^\d{1,6}$/.test(value.trim()) && seconds <= MAX_WAIT_S) return seconds
    throw CobError.of('invalid-request', {
      problem: `Prefer: wait is "${value.slice(0, 40)}"; send whole seconds from 0 to ${MAX_WAIT_S}.`,
    })
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
