/** One finding about this machine: what a sandbox needs or holds, and what does it. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  /** What enforces it; when not ok, what is wrong. */
  readonly detail: string
  /** What to type or change when it is not ok. */
  readonly fix?: string
}

export type OnCheck = (check: Check) => void

/** A readable error of the findings that are not ok. */
export function toError(headline: string, failed: readonly Check[], advice = ''): Error {
  const lines = failed.map(({ name, detail, fix }) => `  ${name}: ${detail}${fix ? `\n    ${fix}` : ''}`)
  return new Error([headline, ...lines, ...(advice === '' ? [] : [advice])].join('\n'))
}
