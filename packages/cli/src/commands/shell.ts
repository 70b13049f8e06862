import { loadConfig } from '@cob/server'
import type { Client } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { isUnfinished } from '../continuation.ts'
import { execute } from '../execute.ts'
import { createInputReader } from '../input.ts'
import { addKernelOptions, type KernelOptions, withKernel } from '../kernel-options.ts'
import { createLines } from '../lines.ts'
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
      '\nWhat is not finished (an open bracket, block or string, a backslash at the end) goes on until an empty line, programs of\ncompiled languages always do. Tab completes.\nCtrl-C interrupts the code, or drops the line; Ctrl-D leaves.\n\nExample:\n  cob shell python3',
    )
    .action(async (lang: string, options: Options) => {
      const config = loadConfig()
      const media = createMediaShower(config, options.out)
      const use = (client: Client): Promise<number> =>
        withKernel(client, lang, options, (kernelId) => converse({ client, kernelId, media }))
      done(await withServer(config, options, use))
    })
}

interface Conversation {
  readonly client: Client
  readonly kernelId: string
  readonly media: MediaShower
}

/** Reads, runs and shows until the end of the input; then 0, or 1 when the kernel has ended. */
async function converse({ client, kernelId, media }: Conversation): Promise<number> {
  const { lang } = await client.info(kernelId)
  let isRunning = false
  const lines = createLines({
    onInterrupt: () => {
      if (isRunning) void client.interrupt(kernelId).catch(() => false)
    },
    completer: (line, answer) => {
      client.complete(kernelId, line, [...line].length).then(
        ({ matches, start }) => {
          const typed = [...line].slice(start).join('')
          answer(null, [matches.map(({ text }) => text), typed])
        },
        () => answer(null, [[], line]),
      )
    },
  })
  const input = createInputReader(lines)
  const isTerminal = process.stdin.isTTY === true
  const prompt = (text: string): string => (isTerminal ? text : '')
  let entered: string[] = []
  try {
    for (;;) {
      const answer = await lines.ask({
        prompt: prompt(entered.length > 0 ? '... ' : `${lang}> `),
        isRemembered: true,
      })
      if (answer.kind === 'dropped') entered = []
      else if (answer.kind === 'line') entered.push(answer.text)
      else if (entered.length === 0) break
      if (answer.kind === 'line' && isUnfinished(lang, entered)) continue
      const code = entered.join('\n')
      entered = []
      if (code.trim() === '') continue
      isRunning = true
      const { hasEnded } = await execute(code, { client, kernelId, media, input, showsValue: true })
      isRunning = false
      if (hasEnded) return 1
    }
    process.stderr.write(prompt('\n'))
    return 0
  } finally {
    lines.close()
  }
}
