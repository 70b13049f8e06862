import type { Lines, Question } from './lines.ts'

/** Answers what a running program asks for. */
export interface InputReader {
  /** One line, or what means the end of its input to the program; undefined when the question was dropped. */
  ask(question: Question): Promise<string | undefined>
}

/** What the kernel takes for the end of its input (ASCII EOT). */
const END_OF_FILE = '\x04'

/** Without `lines` there is nothing to read, as where standard input was the program itself. */
export function createInputReader(lines: Lines | undefined): InputReader {
  return {
    async ask(question) {
      if (!lines) process.stderr.write(question.prompt)
      const answer = await lines?.ask(question)
      if (answer?.kind === 'dropped') return undefined
      return answer?.kind === 'line' ? answer.text : END_OF_FILE
    },
  }
}
