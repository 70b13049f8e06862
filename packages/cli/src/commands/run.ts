import { existsSync, readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { loadConfig } from '@cob/server'
import { CliError } from '../cli-error.ts'
import type { Client } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { execute } from '../execute.ts'
import { createInputReader } from '../input.ts'
import { addKernelOptions, type KernelOptions, withKernel } from '../kernel-options.ts'
import { createLines } from '../lines.ts'
import { createMediaShower, type MediaShower } from '../media.ts'
import { createStop, type Stop, toExitCode } from '../stop.ts'
import { withServer } from '../with-server.ts'

interface Options extends KernelOptions {
  readonly out: string
  readonly value?: boolean
}

export const addRun: AddCommand = (program, done) => {
  const command = program
    .command('run')
    .description(
      'Run a program in a fresh kernel: output as it comes, input from here, pictures shown or saved.',
    )
    .argument('<lang>', 'kernel type, such as python3')
    .argument('[file]', 'the program; - or nothing: standard input', '-')
    .option('--out <dir>', 'folder for what cannot be shown here', '.')
    .option('--value', 'also show the value of a last expression')
  addKernelOptions(command)
    .addHelpText(
      'after',
      '\nThe program ends with its last statement: join threads and await timers whose output is to be seen.\nCtrl-C interrupts it; once more ends this command. Pictures: COB_IMAGES=kitty, iterm2, sixel or file.\n\nExit status: 0 the code ran, 1 it failed, 2 wrong usage, 3 no server, 130 interrupted.\n\nExamples:\n  cob run python3 plot.py\n  echo "print(6 * 7)" | cob run python3',
    )
    .action(async (lang: string, file: string, options: Options) => {
      const config = loadConfig()
      // A kernel type has no dot; and otherwise it would wait for a program on a terminal.
      if (file === '-' && lang.includes('.') && existsSync(lang))
        throw new CliError(`${lang} is a file. Say what runs it, for example: cob run python3 ${lang}`, 2)
      const code = await readProgram(file)
      const media = createMediaShower(config, options.out)
      const stop = createStop()
      try {
        const run = (client: Client): Promise<number> =>
          withKernel(client, lang, options, (kernelId) => {
            stop.interruptFirst(() => client.interrupt(kernelId))
            return runOnce({
              client,
              kernelId,
              code,
              media,
              showsValue: options.value === true,
              mayAsk: file !== '-',
              stop,
            })
          })
        done(await withServer(config, options, run))
      } finally {
        stop.close()
      }
    })
}

interface Run {
  readonly client: Client
  readonly kernelId: string
  readonly code: string
  readonly media: MediaShower
  readonly showsValue: boolean
  /** False when standard input was the program. */
  readonly mayAsk: boolean
  readonly stop: Stop
}

async function runOnce({ mayAsk, stop, code, ...how }: Run): Promise<number> {
  const lines = mayAsk ? createLines({ onInterrupt: () => process.kill(process.pid, 'SIGINT') }) : undefined
  const stopped = new AbortController()
  try {
    const { hasFailed, wasInterrupted } = await stop.unless(
      execute(code, { ...how, input: createInputReader(lines), signal: stopped.signal }),
    )
    return wasInterrupted ? toExitCode('SIGINT') : hasFailed ? 1 : 0
  } finally {
    stopped.abort()
    lines?.close()
  }
}

async function readProgram(file: string): Promise<string> {
  try {
    // Not by readFileSync, which fails where what comes is not there yet and the pipe does not block.
    const bytes = file === '-' ? await buffer(process.stdin) : readFileSync(file)
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    const why =
      cause instanceof TypeError ? 'it is not UTF-8' : cause instanceof Error ? cause.message : String(cause)
    throw new CliError(`${file === '-' ? 'Standard input' : file} cannot be read: ${why}`, 2, { cause })
  }
}
