import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { CreateKernel, RunResult } from '@cob/protocol'
import { type Config, loadConfig, serve } from '@cob/server'
import { CliError } from '../cli-error.ts'
import { type Client, connect, createClient, findServer, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'
import { createInputReader } from '../input.ts'
import { createMediaSaver } from '../media.ts'
import { createStop, type Stop } from '../stop.ts'

interface Options extends Target {
  readonly memory?: number
  readonly timeout?: number
  readonly out: string
  readonly value?: boolean
}

/** Longest time without a sign of life from a running program, seconds. */
const WAIT_S = 1

export const addRun: AddCommand = (program, done) => {
  program
    .command('run')
    .description('Run a program in a fresh kernel: output as it comes, input from here, images as files.')
    .argument('<lang>', 'kernel type, such as python3')
    .argument('[file]', 'the program; - or nothing: standard input', '-')
    .option('--memory <KB>', 'memory of the kernel', toNumber)
    .option('--timeout <ms>', 'time the program may run', toNumber)
    .option('--out <dir>', 'folder for images', '.')
    .option('--value', 'also print the value of a last expression')
    .option(
      '--url <url>',
      'the server (COB_URL, or the one that uses the data folder; without any, one is started for this run)',
    )
    .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
    .addHelpText(
      'after',
      '\nExit status: 0 the code ran, 1 it failed, 2 wrong usage, 3 no server.\n\nExamples:\n  cob run python3 plot.py\n  echo "print(6 * 7)" | cob run python3',
    )
    .action(async (lang: string, file: string, options: Options) => {
      const config = loadConfig()
      const code = readProgram(file)
      const stop = createStop()
      try {
        const run = (client: Client): Promise<number> =>
          runOnce(client, { lang, code, options, mayAsk: file !== '-', stop })
        done(await withClient(config, options, run))
      } finally {
        stop.close()
      }
    })
}

interface Run {
  readonly lang: string
  readonly code: string
  readonly options: Options
  /** False when standard input was the program. */
  readonly mayAsk: boolean
  readonly stop: Stop
}

async function runOnce(client: Client, { lang, code, options, mayAsk, stop }: Run): Promise<number> {
  const resourceLimits = {
    ...(options.memory === undefined ? {} : { maxMem: options.memory }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  }
  const request: CreateKernel = { lang, resourceLimits }
  // To its end even when stopped: a kernel that was made must be known to be destroyed.
  const { kernelId } = await client.create(request)
  const media = createMediaSaver(options.out)
  const input = createInputReader(mayAsk)
  try {
    let part = await stop.unless(client.run(kernelId, { code }, WAIT_S))
    for (;;) {
      show(part, options)
      for (const entry of part.media) media.save(entry)
      if (part.status !== 'continued' && part.status !== 'waiting-input') return exitCode(part)
      const codeId = part.executionId
      const text = part.options ? await stop.unless(input.ask(part.options)) : ''
      part = await stop.unless(client.run(kernelId, { code: text, codeId }, WAIT_S))
    }
  } finally {
    input.close()
    // It may have ended by itself.
    await client.destroy(kernelId).catch(() => {})
  }
}

function show(part: RunResult, options: Options): void {
  process.stdout.write(part.stdout)
  process.stderr.write(part.stderr)
  for (const [, , , traceback] of part.exceptions) process.stderr.write(`${traceback.join('').trimEnd()}\n`)
  if (part.truncated) process.stderr.write('cob: output was cut\n')
  if (options.value && part.value) process.stdout.write(`${part.value['text/plain'] ?? ''}\n`)
  if (part.status === 'terminated') process.stderr.write(`cob: the kernel ended: ${part.reason}\n`)
}

function exitCode({ status, exceptions }: RunResult): number {
  return status === 'finished' && exceptions.length === 0 ? 0 : 1
}

/** Uses the server there is, or one of its own that lives for this run only. */
async function withClient(
  config: Config,
  options: Options,
  use: (client: Client) => Promise<number>,
): Promise<number> {
  if ((options.url ?? config.url ?? findServer(config)) !== undefined)
    return use(createClient(config, options))
  const dataDir = mkdtempSync(path.join(tmpdir(), 'cob-run-'))
  try {
    const server = await serve(
      { ...config, dataDir, host: '127.0.0.1', port: 0, logLevel: 'error' },
      { isTemporary: true },
    )
    try {
      return await use(connect(server.url, server.key))
    } finally {
      await server.close()
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

function readProgram(file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file === '-' ? 0 : file))
  } catch (cause) {
    const why =
      cause instanceof TypeError ? 'it is not UTF-8' : cause instanceof Error ? cause.message : String(cause)
    throw new CliError(`${file === '-' ? 'Standard input' : file} cannot be read: ${why}`, 2, { cause })
  }
}

function toNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new CliError(`"${text}" is not a whole number.`, 2)
}
