// process.stdin, which asks when somebody reads it.
'use strict'
const readline = require('node:readline')
const readlinePromises = require('node:readline/promises')
const { Readable } = require('node:stream')

/** ms in which a reader may lose its interest in more: one that took a line often does. */
const PATIENCE_MS = 5

/** Calls `ask` once when a reader finds nothing while code runs, and again after an answer or in another execution. */
class Stdin extends Readable {
  fd = 0
  isTTY = false
  #ask
  #isEmpty = false
  #isEvaluating = false
  isAsking = false
  constructor(ask) {
    super()
    this.#ask = ask
    this.on('resume', () => this.#look())
    this.on('newListener', () => this.#look())
  }
  setRawMode() {
    return this
  }
  _read() {
    this.#isEmpty = true
    this.#look()
  }
  /** Code starts; nobody answers any more what was asked before it. */
  begin() {
    this.#isEvaluating = true
    this.isAsking = false
    this.#look()
  }
  end() {
    this.#isEvaluating = false
  }
  answer(text) {
    this.#isEmpty = this.isAsking = false
    const isEnd = text.endsWith('\x04')
    this.push(isEnd ? text.slice(0, -1) : `${text}\n`)
    if (isEnd) this.push(null)
  }
  #look() {
    setTimeout(() => {
      const isFlowing = this.readableFlowing && this.listenerCount('data') > 0
      const isRead = isFlowing || this.listenerCount('readable') > 0
      if (!isRead || !this.#isEmpty || !this.#isEvaluating || this.isAsking || this.destroyed) return
      this.isAsking = true
      this.#ask()
    }, PATIENCE_MS)
  }
}

/** The standard input of all executions: `stream` is the one at hand, as one that has ended gives way to another. */
function createStdin(ask) {
  let stream = new Stdin(ask)
  const questions = endQuestions()
  return {
    get stream() {
      return stream
    },
    begin() {
      if (stream.readableEnded || stream.destroyed) stream = new Stdin(ask)
      stream.begin()
    },
    end: () => stream.end(),
    answer: (text) => stream.answer(text),
    /** Nobody waits any more: a question is dropped and its interface goes on, other readers find the end, as after ctrl-C. */
    interrupt() {
      if (questions.abort() || !stream.isAsking) return
      stream.push(null)
      stream = new Stdin(ask)
    },
  }
}

/** Without this an interface would give the next answer to whoever asked before the interrupt, and none to whoever asks after it. */
function endQuestions() {
  const open = new Set()
  const withSignal = (options) => {
    const controller = new AbortController()
    open.add(controller)
    const given = options?.signal
    const signal = given ? AbortSignal.any([given, controller.signal]) : controller.signal
    return { options: { ...options, signal }, done: () => open.delete(controller) }
  }
  const { question } = readline.Interface.prototype
  readline.Interface.prototype.question = function (query, options, callback = options) {
    if (typeof callback !== 'function') return question.call(this, query, options, callback)
    const asked = withSignal(typeof options === 'function' ? undefined : options)
    return question.call(this, query, asked.options, (answer) => {
      asked.done()
      callback(answer)
    })
  }
  // What `util.promisify` looks for.
  Object.defineProperties(readline.Interface.prototype.question, Object.getOwnPropertyDescriptors(question))
  const promised = readlinePromises.Interface.prototype.question
  readlinePromises.Interface.prototype.question = function (query, options) {
    const asked = withSignal(options)
    return promised.call(this, query, asked.options).finally(asked.done)
  }
  return {
    /** False where there was none. */
    abort() {
      const wasAsked = open.size > 0
      for (const controller of open) controller.abort()
      open.clear()
      return wasAsked
    },
  }
}

module.exports = { createStdin }
