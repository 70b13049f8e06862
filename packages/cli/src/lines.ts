import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'

export interface Question {
  readonly prompt: string
  /** The answer is not shown. */
  readonly isPassword?: boolean
  /** The answer is offered again, to those that come later. */
  readonly isRemembered?: boolean
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal
}

/** `end`: there are no more lines, or ctrl-D, after which a terminal has others; `dropped`: by ctrl-C or the signal. */
type Answer =
  | { readonly kind: 'line'; readonly text: string }
  | { readonly kind: 'end' }
  | { readonly kind: 'dropped' }

/** Lines typed at this terminal, or those of standard input. One is asked for at a time. */
export interface Lines {
  ask(question: Question): Promise<Answer>
  close(): void
}

export interface LinesOptions {
  /** Ctrl-C at a terminal; what was typed is dropped. */
  readonly onInterrupt: () => void
  readonly completer?: (line: string, answer: (error: null, result: [string[], string]) => void) => void
}

/** Answers that nobody asked for yet; past these, nothing more is read. */
const MAX_WAITING = 1000

export function createLines({ onInterrupt, completer }: LinesOptions): Lines {
  const isTerminal = process.stdin.isTTY === true
  const waiting: Answer[] = []
  let lines: Interface | undefined
  let isAtEnd = false
  let isClosed = false
  let question: Question | undefined
  let remembered: string[] = []
  let resolve: ((answer: Answer) => void) | undefined
  const echo = new Writable({
    write(chunk, _encoding, written) {
      if (!question?.isPassword) process.stderr.write(chunk)
      written()
    },
  })

  const settle = (answer: Answer): void => {
    const isMuted = question?.isPassword === true
    question = undefined
    lines?.setPrompt('')
    if (isMuted && answer.kind === 'line') process.stderr.write('\n')
    resolve?.(answer)
    resolve = undefined
  }
  const drop = (shown: string): void => {
    if (isTerminal) {
      for (const name of ['e', 'u']) lines?.write(null, { ctrl: true, name })
      process.stderr.write(shown)
    }
    settle({ kind: 'dropped' })
  }
  const open = (): Interface => {
    const opened = createInterface({
      input: process.stdin,
      output: echo,
      terminal: isTerminal,
      history: [...remembered],
      ...(completer && { completer }),
    })
    const take = (answer: Answer): void => {
      if (resolve) settle(answer)
      else if (waiting.push(answer) === MAX_WAITING) opened.pause()
    }
    opened.on('line', (text) => take({ kind: 'line', text }))
    // A password, or what a program was told, must not be offered as code.
    opened.on('history', (history) => {
      if (question?.isRemembered) remembered = [...history]
      else history.splice(0, history.length, ...remembered)
    })
    // Readline sets the terminal to raw mode, in which ctrl-C is a mere character.
    opened.on('SIGINT', () => {
      drop('^C\n')
      onInterrupt()
    })
    // Ctrl-D closes the interface, and not the terminal: what is typed next may be for another question.
    opened.once('close', () => {
      isAtEnd = !isTerminal || process.stdin.readableEnded
      lines = isAtEnd || isClosed ? undefined : open()
      take({ kind: 'end' })
    })
    return opened
  }

  return {
    async ask(asked) {
      if (asked.signal?.aborted) return { kind: 'dropped' }
      const answer = waiting.shift()
      if (!isTerminal || answer || isAtEnd) process.stderr.write(asked.prompt)
      if (answer) return answer
      if (isAtEnd) return { kind: 'end' }
      lines ??= open()
      lines.resume()
      if (isTerminal) {
        // Through readline, which writes it again whenever the line is edited.
        lines.setPrompt(asked.prompt)
        lines.prompt(true)
      }
      question = asked
      const isGone = (): void => drop('\n')
      asked.signal?.addEventListener('abort', isGone, { once: true })
      try {
        return await new Promise<Answer>((answered) => {
          resolve = answered
        })
      } finally {
        asked.signal?.removeEventListener('abort', isGone)
      }
    },
    close() {
      isClosed = true
      lines?.close()
    },
  }
}
