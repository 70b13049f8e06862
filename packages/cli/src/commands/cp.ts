import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, type Dirent, type Stats, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
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
    .argument('<to>', 'the same; - is standard output, a folder as a tar archive')
    .option('--url <url>', 'the server (COB_URL, or the one that uses the data folder)')
    .option('--key <key>', 'accessKey:secretKey (COB_KEY, or the first key)')
    .addHelpText(
      'after',
      '\nPaths there are below the working directory. Of a folder its content is copied; a file goes into a folder that has the name, or whose name ends in /.\n\nExamples:\n  cob cp data.csv TSSJT2Z4SnmQhxjWMnJljg:data.csv\n  cob cp TSSJT2Z4SnmQhxjWMnJljg:results ./results',
    )
    .action(async (from: string, to: string, options: Target) => {
      const [source, target] = [parsePlace(from), parsePlace(to)]
      const client = createClient(loadConfig(), options)
      if (source.kernelId !== undefined && target.kernelId === undefined)
        await copyOut(client, source.kernelId, source.path, target.path)
      else if (source.kernelId === undefined && target.kernelId !== undefined)
        await copyIn(client, source.path, target.kernelId, target)
      else throw new CliError('One of the two must be <kernelId>:<path>, the other a path here.', 2)
    })
}

interface Place {
  readonly kernelId?: string
  readonly path: string
  /** Only a folder can be meant. */
  readonly isFolder: boolean
}

function parsePlace(text: string): Place {
  const [, kernelId, inside = ''] = /^([A-Za-z0-9_-]{22}):(.*)$/s.exec(text) ?? []
  if (kernelId === undefined) return { path: text, isFolder: text.endsWith('/') }
  const steps = inside.split('/').filter((step, index) => step !== '.' && (step !== '' || index === 0))
  return { kernelId, path: steps.join('/'), isFolder: /(^|\/)\.?$/.test(inside) }
}

async function copyOut(client: Client, kernelId: string, from: string, to: string): Promise<void> {
  const { isFolder, content } = await client.download(kernelId, from)
  if (to === '-') {
    if (isFolder && process.stdout.isTTY)
      throw new CliError(`${from || '.'} is a folder, which comes as a tar archive: send it on.`, 2)
    await pipeline(content, process.stdout, { end: false })
    return
  }
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
  if (to.endsWith('/')) makeFolder(to)
  const target = statOrNothing(to)?.isDirectory() ? path.join(to, path.basename(from)) : to
  await pipeline(content, createWriteStream(target))
}

async function copyIn(client: Client, from: string, kernelId: string, to: Place): Promise<void> {
  const about = statOrNothing(from)
  if (!about) throw new CliError(`There is no ${from} here.`, 2)
  if (about.isDirectory()) await copyFolderIn(client, from, kernelId, to.path)
  else await copyFileIn(client, { from, sizeBytes: about.size, kernelId, to })
}

interface FileIn {
  readonly from: string
  readonly sizeBytes: number
  readonly kernelId: string
  readonly to: Place
}

async function copyFileIn(client: Client, { from, sizeBytes, kernelId, to }: FileIn): Promise<void> {
  const upload = (name: string): Promise<void> =>
    client.upload(kernelId, name, createReadStream(from), sizeBytes)
  const within = [to.path, path.basename(from)].filter(Boolean).join('/')
  if (to.isFolder) return upload(within)
  try {
    await upload(to.path)
  } catch (error) {
    if (!(error instanceof CliError && error.cause === 'file-conflict')) throw error
    // As cp has it: what has that name is a folder, most likely.
    await upload(within).catch(() => {
      throw error
    })
  }
}

/** What lies in the folder, not the folder itself: `to` is its name there. */
async function copyFolderIn(client: Client, from: string, kernelId: string, to: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true })
  const nameOf = (entry: Dirent): string =>
    [to, path.relative(from, path.join(entry.parentPath, entry.name))].filter(Boolean).join('/')
  const parents = new Set(entries.map(({ parentPath }) => path.resolve(parentPath)))
  for (const entry of entries) {
    const source = path.join(entry.parentPath, entry.name)
    if (entry.isFile())
      await client.upload(kernelId, nameOf(entry), createReadStream(source), statSync(source).size)
    else if (!entry.isDirectory())
      process.stderr.write(`cob: left out: ${source} is ${entry.isSymbolicLink() ? 'a link' : 'no file'}\n`)
    else if (!parents.has(path.resolve(source))) await makeEmpty(client, kernelId, nameOf(entry))
  }
  if (entries.length === 0 && to !== '') await makeEmpty(client, kernelId, to)
}

/** A folder comes with the first file in it, and stays. */
async function makeEmpty(client: Client, kernelId: string, folder: string): Promise<void> {
  const file = `${folder}/.cob-cp-${randomUUID()}`
  await client.upload(kernelId, file, Readable.from([]), 0)
  await client.remove(kernelId, file)
}

function statOrNothing(file: string): Stats | undefined {
  return statSync(file, { throwIfNoEntry: false })
}
