import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'

/** Answers what a running program asks for, from this terminal or standard input. */
export interface InputReader {
  /** One line; at the end of standard input what means end of file to the program. */
  ask(question: { prompt: string; isPassword: boolean }): Promise<string>
  close(): void
}

/** What the kernel takes for the end of its input (ASCII EOT). */
const END_OF_FILE = '\x04'

/** `mayAsk` is false when standard input was the program itself. */
export function createInputReader(mayAsk: boolean): InputReader {
  const isTerminal = process.stdin.isTTY === true
  let lines: Interface | undefined
  let iterator: AsyncIterator<string> | undefined
  let isMuted = false
  let isClosed = false
  const echo = new Writable({
    write(chunk, _encoding, written) {
      if (!isMuted) process.stderr.write(chunk)
      written()
    },
  })
  const open = (): Interface => {
    // No history: the next question must not offer a password.
    const opened = createInterface({
      input: process.stdin,
      output: echo,
      terminal: isTerminal,
      historySize: 0,
    })
    opened.once('close', () => {
      isClosed = true
    })
    // Readline sets the terminal to raw mode, in which ctrl-C is a mere character.
    opened.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    return opened
  }
  return {
    async ask({ prompt, isPassword }) {
      if (mayAsk) {
        lines ??= open()
        iterator ??= lines[Symbol.asyncIterator]()
      }
      if (lines && isTerminal && !isClosed) {
        // Through readline, which writes it again whenever the line is edited.
        lines.setPrompt(prompt)
        lines.prompt()
      } else process.stderr.write(prompt)
      isMuted = isPassword
      const answer = await iterator?.next()
      if (isMuted) process.stderr.write('\n')
      isMuted = false
      return answer === undefined || answer.done ? END_OF_FILE : answer.value
    },
    close: () => lines?.close(),
  }
}
