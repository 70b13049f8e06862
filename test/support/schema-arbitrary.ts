import fc, { type Arbitrary } from 'fast-check'

/** What the schemas in `openapi.json` are made of. */
export interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly items?: Schema
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly propertyNames?: Schema
  readonly additionalProperties?: boolean | Schema
}

/** Any code point, lone surrogates too. fast-check's own would take a second to be set up. */
export const character: Arbitrary<string> = fc.nat(0x10ffff).map((code) => String.fromCodePoint(code))
/** Of strings that may be longer. */
const MAX_LENGTH = 30

/** Values a schema accepts. `hints` are values of properties, by name, that mean something to the server. */
export function fromSchema(
  schema: Schema,
  hints: Readonly<Record<string, Arbitrary<unknown>>>,
): Arbitrary<unknown> {
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((one) => fromSchema(one, hints)))
  const { minLength = 0, maxLength = MAX_LENGTH } = schema
  switch (schema.type) {
    case 'string':
      return schema.pattern === undefined
        ? fc.string({ unit: character, minLength, maxLength: Math.min(maxLength, MAX_LENGTH) })
        : fc.stringMatching(new RegExp(schema.pattern))
    case 'integer':
      return fc.oneof(
        fc.constantFrom(schema.minimum ?? 0, schema.maximum ?? 0),
        fc.integer({ min: schema.minimum ?? -1000, max: Math.min(schema.maximum ?? 1000, 200_000) }),
      )
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(fromSchema(schema.items ?? {}, hints), { maxLength: Math.min(schema.maxItems ?? 4, 4) })
    case 'object': {
      const { properties = {}, required = [], propertyNames, additionalProperties } = schema
      if (typeof additionalProperties === 'object')
        return fc.dictionary(
          fromSchema(propertyNames ?? { type: 'string' }, hints).map(String),
          fromSchema(additionalProperties, hints),
          { maxKeys: 4 },
        )
      const fields = Object.entries(properties).map(([name, one]) => [
        name,
        hints[name]
          ? fc.oneof({ arbitrary: hints[name], weight: 3 }, fromSchema(one, hints))
          : fromSchema(one, hints),
      ])
      const shape: Record<string, Arbitrary<unknown>> = Object.fromEntries(fields)
      return fc.record(shape, { requiredKeys: [...required] })
    }
    default:
      throw new Error(`values of ${JSON.stringify(schema)} cannot be made up yet`)
  }
}

/** JSON text that is odd in itself, whatever it is sent to. */
export const hostileJson: Arbitrary<string> = fc.oneof(
  { arbitrary: fc.jsonValue().map((value) => JSON.stringify(value)), weight: 20 },
  {
    arbitrary: fc.constantFrom(
      '1e400',
      '-0',
      '9'.repeat(400),
      '"\\ud83d"',
      '"\\u0000"',
      '{"__proto__": {"polluted": 1}}',
      '{"constructor": {"prototype": {"polluted": 1}}}',
      '{"a": 1, "a": 2}',
      `"${'x'.repeat(5000)}"`,
      'NaN',
      '{"lang"',
      '',
    ),
    weight: 20,
  },
  {
    arbitrary: fc.constantFrom(
      '['.repeat(100_000),
      '['.repeat(100_000) + ']'.repeat(100_000),
      '{"a":'.repeat(100_000),
    ),
    weight: 1,
  },
)

/** JSON text near what a schema accepts: a field of a good value left out, made odd, sent twice, or one too many. */
export function nearSchema(good: Arbitrary<unknown>): Arbitrary<string> {
  return fc
    .record({ good, odd: hostileJson, pick: fc.nat(), how: fc.nat(4) })
    .map(({ good, odd, pick, how }) => {
      if (typeof good !== 'object' || good === null) return odd
      const fields = Object.entries(good).map(([name, value]) => [
        JSON.stringify(name),
        JSON.stringify(value),
      ])
      const at = pick % (fields.length + 1)
      const field = fields[at]
      if (how === 0 || !field) fields.push(['"extra"', odd])
      else if (how === 1) fields.splice(at, 1)
      else if (how === 2) fields.push([field[0] ?? '', odd])
      else if (how === 3) fields[at] = ['"__proto__"', odd]
      else fields[at] = [field[0] ?? '', odd]
      return `{${fields.map((pair) => pair.join(':')).join(',')}}`
    })
}
