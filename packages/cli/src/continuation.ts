const PAIRS: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }

/**
 * Whether code typed so far wants to go on: a line that ends in a colon or a backslash, or an open bracket, until an empty line. No
 * language is parsed for this: what is wrong with the code, its kernel says.
 */
export function isUnfinished(lines: readonly string[]): boolean {
  const last = lines.at(-1) ?? ''
  if (last.endsWith('\\')) return true
  if (last.trim() === '') return false
  const isBlock = lines.some((line) => line.trimEnd().endsWith(':'))
  return isBlock || hasOpenBracket(lines.join('\n'))
}

function hasOpenBracket(code: string): boolean {
  const open: string[] = []
  // Strings hide what is in them; one that is not closed hides nothing.
  for (const [found] of code.matchAll(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[([{}\])]/g)) {
    if ('([{'.includes(found)) open.push(found)
    else if (PAIRS[found] !== undefined && open.at(-1) === PAIRS[found]) open.pop()
  }
  return open.length > 0
}
