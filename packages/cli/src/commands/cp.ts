import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, createWriteStream, type Stats, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { loadConfig, makeFolder } from '@cob/server'
import { CliError } from '../cli-error.ts'
import { type Client, createClient, type Target } from '../client.ts'
import type { AddCommand } from '../command.ts'

export const addCp: AddCommand = (program) => {
  program
    .command('cp')
    .description('Copy files and folders into a kernel or out of it.')
    .argument('<from>', 'a path here, or <kernelId>:<path> there')
    .argument('<to>', 'the same; - is standard output')
    .option('--url <url>', 'the server (COB_URL, or the one that uses the data folder)')
    .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
    .addHelpText(
      'after',
      '\nPaths there are below the working directory.\n\nExamples:\n  cob cp data.csv TSSJT2Z4SnmQhxjWMnJljg:data.csv\n  cob cp TSSJT2Z4SnmQhxjWMnJljg:results ./results',
    )
    .action(async (from: string, to: string, options: Target) => {
      const [source, target] = [parsePlace(from), parsePlace(to)]
      const client = createClient(loadConfig(), options)
      if (source.kernelId !== undefined && target.kernelId === undefined)
        await copyOut(client, source.kernelId, source.path, target.path)
      else if (source.kernelId === undefined && target.kernelId !== undefined)
        await copyIn(client, source.path, target.kernelId, target.path)
      else throw new CliError('One of the two must be <kernelId>:<path>, the other a path here.', 2)
    })
}

interface Place {
  readonly kernelId?: string
  readonly path: string
}

function parsePlace(text: string): Place {
  const [, kernelId, inside] = /^([A-Za-z0-9_-]{22}):(.*)$/s.exec(text) ?? []
  return kernelId === undefined ? { path: text } : { kernelId, path: (inside ?? '').replace(/\/+$/, '') }
}

async function copyOut(client: Client, kernelId: string, from: string, to: string): Promise<void> {
  const { isFolder, content } = await client.download(kernelId, from)
  if (isFolder) {
    makeFolder(to)
    // What lies in the folder, not the folder itself: `to` is its name here.
    const tar = spawn('tar', ['-x', '-f', '-', '-C', to, '--no-same-owner', '--strip-components=1'], {
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    const ended = once(tar, 'exit')
    await pipeline(content, tar.stdin)
    const [status] = await ended
    if (status !== 0) throw new CliError(`tar ended with status ${status}.`, 1)
    return
  }
  if (to === '-') {
    await pipeline(content, process.stdout, { end: false })
    return
  }
  const target = statOrNothing(to)?.isDirectory() ? path.join(to, path.basename(from)) : to
  await pipeline(content, createWriteStream(target))
}

async function copyIn(client: Client, from: string, kernelId: string, to: string): Promise<void> {
  const about = statOrNothing(from)
  if (!about) throw new CliError(`There is no ${from} here.`, 2)
  if (!about.isDirectory()) {
    await client.upload(kernelId, to || path.basename(from), createReadStream(from), about.size)
    return
  }
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const source = path.join(entry.parentPath, entry.name)
    const target = [to, path.relative(from, source)].filter(Boolean).join('/')
    await client.upload(kernelId, target, createReadStream(source), statSync(source).size)
  }
}

function statOrNothing(file: string): Stats | undefined {
  return statSync(file, { throwIfNoEntry: false })
}
