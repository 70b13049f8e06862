'use strict'

const OWN = 'globalThis[Symbol.for("cob.import")]('

/** Code in which each dynamic `import(` calls a function of ours: V8's REPL mode has none. What stands in strings and comments stays. */
exports.hideDynamicImports = (code) => {
  if (!code.includes('import')) return code
  // Comments, strings, and the text of templates up to `${`; or what is looked for.
  const pattern =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'|`|[{}]|(?<![\w$.])import\s*\(/g
  let result = ''
  let last = 0
  // Of templates around the place: how many braces are open in the expression there.
  const open = []
  for (let match = pattern.exec(code); match; match = pattern.exec(code)) {
    const [found] = match
    if (found === '`') pattern.lastIndex = skipTemplate(code, pattern.lastIndex, open)
    else if (found === '{' && open.length > 0) open[open.length - 1]++
    else if (found === '}' && open.length > 0 && open[open.length - 1]-- === 0) {
      open.pop()
      pattern.lastIndex = skipTemplate(code, pattern.lastIndex, open)
    } else if (found.startsWith('import')) {
      result += code.slice(last, match.index) + OWN
      last = pattern.lastIndex
    }
  }
  return result + code.slice(last)
}

/** The place behind a template's text: its end, or the start of an expression, which is noted in `open`. */
function skipTemplate(code, start, open) {
  for (let at = start; at < code.length; at++) {
    if (code[at] === '\\') at++
    else if (code[at] === '`') return at + 1
    else if (code[at] === '$' && code[at + 1] === '{') {
      open.push(0)
      return at + 2
    }
  }
  return code.length
}
