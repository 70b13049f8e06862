import { createInterface, type Interface } from 'node:readline'
import { loadConfig } from '@cob/server'
import type { Client } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { isUnfinished } from '../continuation.ts'
import { execute } from '../execute.ts'
import { addKernelOptions, type KernelOptions, withKernel } from '../kernel-options.ts'
import { createMediaShower, type MediaShower } from '../media.ts'
import { withServer } from '../with-server.ts'

interface Options extends KernelOptions {
  readonly out: string
}

export const addShell: AddCommand = (program, done) => {
  const command = program
    .command('shell')
    .description('Type code into a kernel: line by line, with its values, its questions and its pictures.')
    .argument('<lang>', 'kernel type, such as python3')
    .option('--out <dir>', 'folder for what cannot be shown here', '.')
  addKernelOptions(command)
    .addHelpText(
      'after',
      '\nA line that is not finished (an open bracket, a colon or a backslash at its end) goes on until an empty line. Tab completes.\nCtrl-C interrupts the code, or drops the line; Ctrl-D leaves.\n\nExample:\n  cob shell python3',
    )
    .action(async (lang: string, options: Options) => {
      const config = loadConfig()
      const media = createMediaShower(config, options.out)
      const use = (client: Client): Promise<number> =>
        withKernel(client, lang, options, (kernelId) => converse({ client, kernelId, lang, media }))
      done(await withServer(config, options, use))
    })
}

interface Conversation {
  readonly client: Client
  readonly kernelId: string
  readonly lang: string
  readonly media: MediaShower
}

/** Reads, runs and shows until the end of the input; then 0, or 1 when the kernel has ended. */
async function converse({ client, kernelId, lang, media }: Conversation): Promise<number> {
  const isTerminal = process.stdin.isTTY === true
  const lines: Interface = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: isTerminal,
    completer: (line: string, answer: (error: null, result: [string[], string]) => void) => {
      client.complete(kernelId, line, [...line].length).then(
        ({ matches, start }) => {
          const typed = [...line].slice(start).join('')
          answer(null, [matches.map(({ text }) => text), typed])
        },
        () => answer(null, [[], line]),
      )
    },
  })
  let isRunning = false
  let entered: string[] = []
  lines.on('SIGINT', () => {
    if (isRunning) void client.interrupt(kernelId).catch(() => false)
    else {
      entered = []
      process.stderr.write('^C\n')
      lines.write(null, { ctrl: true, name: 'u' })
      prompt()
    }
  })
  const prompt = (): void => {
    lines.setPrompt(entered.length > 0 ? '... ' : `${lang}> `)
    if (isTerminal) lines.prompt()
  }
  const iterator = lines[Symbol.asyncIterator]()
  const input = {
    async ask({ prompt: question }: { prompt: string; isPassword: boolean }): Promise<string> {
      if (isTerminal) {
        lines.setPrompt(question)
        lines.prompt()
      } else process.stderr.write(question)
      const { done, value } = await iterator.next()
      return done ? END_OF_FILE : value
    },
    close: () => {},
  }
  try {
    for (;;) {
      prompt()
      const { done, value } = await iterator.next()
      if (done && entered.length === 0) break
      if (!done) entered.push(value)
      if (!done && isUnfinished(entered)) continue
      const code = entered.join('\n')
      entered = []
      if (code.trim() === '') continue
      isRunning = true
      const { hasEnded } = await execute(code, { client, kernelId, media, input, showsValue: true })
      isRunning = false
      if (hasEnded) return 1
    }
    if (isTerminal) process.stderr.write('\n')
    return 0
  } finally {
    lines.close()
  }
}

/** What a kernel takes for the end of its input (ASCII EOT). */
const END_OF_FILE = '\x04'
