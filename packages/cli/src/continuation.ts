/** How code of one family of languages shows that it goes on. */
interface Rules {
  /** Strings and comments, which hide what is in them; group 1 is the start of one that may go on in the next line, and does. */
  readonly hidden: RegExp
  /** What opens a block that a word closes, and what closes it. */
  readonly opens?: RegExp
  readonly closes?: RegExp
  /** What opens a block that nothing but an empty line closes. */
  readonly blocks?: RegExp
  /** Each execution is a whole program. */
  readonly isProgram?: boolean
}

const STRINGS = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g
const HASH_COMMENTS = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#.*/g
const PYTHON: Rules = {
  hidden:
    /"""(?:\\[\s\S]|(?!""")[^\\])*"""|'''(?:\\[\s\S]|(?!''')[^\\])*'''|("""|''')[\s\S]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#.*/g,
  blocks: /:[ \t]*(?:"")?$|^(?:@|(?:async|class|def|for|if|try|while|with)\b)/m,
}
const BASH: Rules = {
  hidden: /"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\.|(?<!\S)#.*|(["'])[\s\S]*/g,
  opens: /(?:^|[;&|(]|\b(?:do|then|else)\s)\s*(?:if|case|for|while|until|select)\b/gm,
  closes: /(?:^|[;&|])\s*(?:fi|esac|done)\b/gm,
}
const NODEJS: Rules = {
  hidden:
    /`(?:\\[\s\S]|[^`\\])*`|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\/\/.*|\/\*[\s\S]*?\*\/|(`|\/\*)[\s\S]*/g,
}
const RUBY: Rules = {
  hidden: HASH_COMMENTS,
  opens:
    /(?:^|;)\s*(?:def|class|module|begin|if|unless|case|while|until|for)\b|^(?!\s*(?:while|until|for)\b).*\bdo(?:\s*\|[^|]*\|)?\s*$/gm,
  closes: /(?:^|;)\s*end\b/gm,
}
const LUA: Rules = {
  hidden: /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\[\[[\s\S]*?\]\]|--.*|(\[\[)[\s\S]*/g,
  opens: /\b(?:function|do|if|repeat)\b/g,
  closes: /\b(?:end|until)\b/g,
}
const OCTAVE: Rules = {
  hidden: /"(?:\\.|[^"\\\n])*"|(?<![\w)\]}.'])'[^'\n]*'|[%#].*/g,
  opens: /(?:^|[;,])\s*(?:if|for|while|function|switch|try|do|unwind_protect)\b/gm,
  closes: /(?:^|[;,])\s*(?:end\w*|until)\b/gm,
}
const PROGRAM: Rules = { hidden: STRINGS, isProgram: true }
const OTHER: Rules = { hidden: STRINGS }

const RULES: Readonly<Record<string, Rules>> = {
  python3: PYTHON,
  ipython: PYTHON,
  bash: BASH,
  nodejs: NODEJS,
  ruby: RUBY,
  lua: LUA,
  octave: OCTAVE,
  c: PROGRAM,
  cpp: PROGRAM,
  go: PROGRAM,
  java: PROGRAM,
  rust: PROGRAM,
}
const PAIRS: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }

/**
 * Whether code typed so far wants to go on: it ends in a backslash, has an open bracket, block or string, or is of a kernel type that takes
 * whole programs. An empty line ends all but a string. This looks at words and does not parse: what is wrong with the code, its kernel says.
 */
export function isUnfinished(lang: string, lines: readonly string[]): boolean {
  const rules = RULES[lang.replace(/^jupyter:/, '')] ?? OTHER
  const last = lines.at(-1) ?? ''
  if (last.endsWith('\\')) return true
  let isOpen = false
  const bare = lines.join('\n').replace(rules.hidden, (_, start: unknown) => {
    isOpen ||= typeof start === 'string'
    return '""'
  })
  if (isOpen) return true
  if (last.trim() === '') return false
  if (rules.isProgram || hasOpenBracket(bare)) return true
  if (rules.blocks?.test(bare)) return true
  return rules.opens !== undefined && count(bare, rules.opens) > count(bare, rules.closes ?? rules.opens)
}

function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}

function hasOpenBracket(bare: string): boolean {
  const open: string[] = []
  for (const [found] of bare.matchAll(/[([{}\])]/g)) {
    if ('([{'.includes(found)) open.push(found)
    else if (PAIRS[found] !== undefined && open.at(-1) === PAIRS[found]) open.pop()
  }
  return open.length > 0
}
