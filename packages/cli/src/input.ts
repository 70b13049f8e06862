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
  let lines: Interface | undefined
  let iterator: AsyncIterator<string> | undefined
  let isMuted = false
  const echo = new Writable({
    write(chunk, _encoding, written) {
      if (!isMuted) process.stderr.write(chunk)
      written()
    },
  })
  return {
    async ask({ prompt, isPassword }) {
      if (!mayAsk) {
        process.stderr.write(prompt)
        return END_OF_FILE
      }
      lines ??= createLines(echo)
      iterator ??= lines[Symbol.asyncIterator]()
      // Through readline, which writes it again whenever the line is edited.
      lines.setPrompt(prompt)
      lines.prompt()
      isMuted = isPassword
      const { value, done } = await iterator.next()
      if (isMuted) process.stderr.write('\n')
      isMuted = false
      return done ? END_OF_FILE : value
    },
    close: () => lines?.close(),
  }
}

function createLines(output: Writable): Interface {
  const lines = createInterface({ input: process.stdin, output, terminal: process.stdin.isTTY === true })
  // Readline sets the terminal to raw mode, in which ctrl-C is a mere character.
  lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  return lines
}
