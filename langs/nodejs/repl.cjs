// The nodejs evaluator: runs what comes on descriptor 3, reports on descriptor 4. V8's REPL mode, which browsers' consoles use, gives
// top-level await and lets `const` and `let` be declared again; it is reached through the inspector of this process.
'use strict'
const fs = require('node:fs')
const inspector = require('node:inspector')
const { createRequire } = require('node:module')
const net = require('node:net')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const util = require('node:util')
const vm = require('node:vm')
const { hideDynamicImports } = require('./imports.cjs')
const { createStdin } = require('./stdin.cjs')

const REPORTS_FD = 4
const RUN = 'globalThis[Symbol.for("cob.run")]()'
const NUL = /\0/g
const originalExit = process.reallyExit.bind(process)

const session = new inspector.Session()
session.connect()
const post = (method, params) =>
  new Promise((resolve, reject) => {
    session.post(method, params, (error, result) =>
      error ? reject(new Error(error.message)) : resolve(result),
    )
  })

class Exit extends Error {
  constructor(code) {
    super(`exit ${code}`)
    this.code = code
  }
}

function report(word, text = '') {
  const bytes = Buffer.from(text)
  const message = Buffer.concat([Buffer.from(`${word} ${bytes.length}\n`), bytes])
  for (let at = 0; at < message.length; ) at += fs.writeSync(REPORTS_FD, message, at)
}

function reportError(name, message, before, lines) {
  report(
    'error',
    [name, message, before ? '1' : '0', ...lines].map((text) => String(text).replace(NUL, '')).join('\0'),
  )
}

const require_ = createRequire(path.join(process.cwd(), 'index.js'))
const own = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false })
own('require', require_)
own('module', { exports: {} })
own('exports', globalThis.module.exports)
own(Symbol.for('cob.import'), (specifier, options) => {
  const isPath = /^\.{0,2}\//.test(specifier)
  const found = isPath ? pathToFileURL(path.resolve(specifier)).href : toUrl(specifier)
  return import(found, options)
})

/** Packages are looked for from the working directory on, as `require` does. */
function toUrl(specifier) {
  if (/^[a-z]+:/.test(specifier) || require('node:module').isBuiltin(specifier)) return specifier
  return pathToFileURL(require_.resolve(specifier)).href
}

process.exit = (code = process.exitCode ?? 0) => {
  throw new Exit(code)
}

const stdin = createStdin(() => report('ask'))
Object.defineProperty(process, 'stdin', { get: () => stdin.stream, configurable: true, enumerable: true })

// What is written stands there before anything else happens.
for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true)
const flush = (stream) => new Promise((resolve) => stream.write('', resolve))

let interrupt
process.on('SIGINT', () => interrupt?.())
process.on('uncaughtException', (error) => {
  if (error instanceof Exit) console.error(`process.exit(${error.code}) was called outside an execution`)
  else console.error(trim(error?.stack ?? util.inspect(error)))
})
process.on('unhandledRejection', (error) => console.error(trim(error?.stack ?? util.inspect(error))))

/** Without what this file, and what it calls, add to a stack. */
function trim(stack) {
  const lines = String(stack).split('\n')
  const end = lines.findIndex((line) =>
    /\(node:inspector|\/opt\/cob\/lang\/|evalmachine|\(node:vm/.test(line),
  )
  return (end === -1 ? lines : lines.slice(0, end)).join('\n')
}

async function evaluate(code, name) {
  const interrupted = new Promise((resolve) => {
    interrupt = () => resolve('interrupted')
  })
  const expression = `${hideDynamicImports(code)}\n//# sourceURL=${name}`
  let answer
  globalThis[Symbol.for('cob.run')] = () => {
    answer = post('Runtime.evaluate', {
      expression,
      replMode: true,
      awaitPromise: true,
      objectGroup: 'results',
    })
  }
  try {
    // So that SIGINT ends a loop that never comes back.
    vm.runInThisContext(RUN, { breakOnSigint: true })
  } catch (error) {
    if (error.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') return 'interrupted'
    throw error
  }
  return Promise.race([answer, interrupted])
}

async function show({ objectId, type, value, unserializableValue, description }) {
  if (type === 'undefined') return undefined
  if (objectId === undefined) {
    if (unserializableValue !== undefined) return unserializableValue
    return type === 'string' || value === null ? util.inspect(value) : String(value ?? description)
  }
  let shown
  globalThis[Symbol.for('cob.show')] = (object) => {
    shown = util.inspect(object, { maxStringLength: 100_000 })
  }
  await post('Runtime.callFunctionOn', {
    functionDeclaration:
      'function (object) { globalThis._ = object; globalThis[Symbol.for("cob.show")](object) }',
    arguments: [{ objectId }],
    executionContextId: 1,
  })
  return shown
}

function reportException({ exception, text }, name) {
  const description =
    exception?.description ?? (exception && 'value' in exception ? util.inspect(exception.value) : text)
  const className = exception?.className ?? 'Error'
  if (className === 'Exit') {
    const code = /exit (\S+)/.exec(description)?.[1] ?? '1'
    if (code !== '0') reportError('SystemExit', code, false, [`exit ${code}`])
    return
  }
  const stack = trim(description)
  const [first = ''] = stack.split('\n')
  const before = className === 'SyntaxError' && !stack.includes(`${name}:`)
  const message = exception?.subtype === 'error' ? first.replace(/^[\w$.]*(?: \[\w+\])?: /, '') : first
  reportError(exception?.subtype === 'error' ? className : 'Error', message, before, stack.split('\n'))
}

async function run(code, count) {
  const name = `execution${count}`
  stdin.begin()
  const result = await evaluate(code, name)
  stdin.end()
  interrupt = undefined
  if (result === 'interrupted') {
    stdin.interrupt()
    reportError('Interrupt', 'interrupted', false, ['interrupted'])
    return 'interrupted'
  }
  if (result.exceptionDetails) reportException(result.exceptionDetails, name)
  else {
    const shown = await show(result.result)
    if (shown !== undefined) report('value', shown)
  }
  await post('Runtime.releaseObjectGroup', { objectGroup: 'results' })
  return 'ok'
}

async function obey(word, payload, count) {
  if (word === 'input') {
    stdin.answer(payload)
    return
  }
  const status = await run(payload, count).catch((error) => {
    reportError('Error', String(error), false, [trim(error?.stack ?? error)])
    return 'ok'
  })
  await Promise.all([flush(process.stdout), flush(process.stderr)])
  report('done', status)
}

let buffer = Buffer.alloc(0)
const commands = new net.Socket({ fd: 3, readable: true, writable: false })
commands.on('data', (chunk) => {
  buffer = Buffer.concat([buffer, chunk])
  for (;;) {
    const end = buffer.indexOf(10)
    if (end < 0) return
    const [word, size, count] = buffer.toString('latin1', 0, end).split(' ')
    const stop = end + 1 + Number(size)
    if (buffer.length < stop) return
    const payload = buffer.toString('utf8', end + 1, stop)
    buffer = buffer.subarray(stop)
    obey(word, payload, count)
  }
})
commands.on('end', () => originalExit(0))
