import { once } from 'node:events'
import type { TerminalOutput } from '@cob/protocol'
import { loadConfig } from '@cob/server'
import { WebSocket } from 'ws'
import { CliError } from '../cli-error.ts'
import { createClient, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'

const PING_MS = 30_000
const END_AGAIN_MS = 250

export const addTerm: AddCommand = (program, done) => {
  program
    .command('term')
    .description(
      "A terminal in a kernel's sandbox. Ends with the shell there (exit, or ctrl-D), and with its exit status.",
    )
    .argument('<id>', 'the kernel')
    .option('--url <url>', 'the server (COB_URL, or the one that uses the data folder)')
    .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
    .addHelpText('after', '\nExample:\n  cob term TSSJT2Z4SnmQhxjWMnJljg')
    .action(async (id: string, options: Target) => {
      const client = createClient(loadConfig(), options)
      // A kernel that is not there is told so in words.
      await client.info(id)
      const { url, headers } = client.terminal(id)
      done(await attach(new WebSocket(url, { headers })))
    })
}

async function attach(socket: WebSocket): Promise<number> {
  const { stdin, stdout } = process
  const send = (message: unknown): void => {
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message))
  }
  const resize = (): void => {
    // Some terminals, such as those of consoles over a serial line, do not know their size.
    if (stdout.rows > 0 && stdout.columns > 0)
      send({ type: 'resize', rows: stdout.rows, cols: stdout.columns })
  }
  let failed = false
  socket.on('message', (data) => {
    // The server says only what the protocol has.
    const message = JSON.parse(String(data)) as TerminalOutput
    if (message.type === 'error') {
      failed = true
      process.stderr.write(`cob: ${message.data}\r\n`)
    } else if (!stdout.write(Buffer.from(message.data, 'base64'))) {
      socket.pause()
      stdout.once('drain', () => socket.resume())
    }
  })
  await once(socket, 'open').catch((cause) => {
    throw new CliError(`No terminal: ${cause instanceof Error ? cause.message : cause}`, 3, { cause })
  })
  resize()
  let isWithinLine = false
  const type = (chunk: Buffer): void => {
    isWithinLine = chunk.at(-1) !== 0x0a
    send({ type: 'stdin', chars: chunk.toString('base64') })
  }
  const pings = setInterval(() => send({ type: 'ping' }), PING_MS)
  if (stdin.isTTY) stdin.setRawMode(true)
  stdout.on('resize', resize)
  // What is not typed but piped ends with a ctrl-D of its own: at the start of a line, and again and again, as a program that is just
  // setting up its terminal may miss one, and one that reads lines needs its own.
  let ends: NodeJS.Timeout | undefined
  stdin.on('data', type).once('end', () => {
    type(Buffer.from(isWithinLine ? '\n\x04' : '\x04'))
    ends = setInterval(type, END_AGAIN_MS, Buffer.from('\x04'))
  })
  try {
    const [code, reason] = await once(socket, 'close')
    if (code !== 1000 && !failed) process.stderr.write(`cob: the terminal closed: ${reason || code}\r\n`)
    return code === 1000 ? Number(/ with status (\d+)$/.exec(String(reason))?.[1] ?? 0) : 1
  } finally {
    clearInterval(pings)
    clearInterval(ends)
    stdout.off('resize', resize)
    stdin.off('data', type).pause()
    if (stdin.isTTY) stdin.setRawMode(false)
  }
}
