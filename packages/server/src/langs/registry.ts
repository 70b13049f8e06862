import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { type LangManifest, langManifestSchema } from '@cob/protocol'
import { findKernelspecs, isProgram } from './kernelspecs.ts'
import type { Lang, LangEntry, Langs } from './lang.ts'

const run = promisify(execFile)

const PYTHON = '/usr/bin/python3'
const AGENT_PATH = '/opt/cob/agent.pyz'
/** What `{lang}` in a manifest stands for; the agent's default. */
const LANG_FOLDER = '/opt/cob/lang'
const MANIFEST = 'lang.json'
/** Of a kernel type's folder: for the server and for tests. */
const NOT_SHIPPED = /^(lang|conformance)\.json$|\.pyc$|\.md$/
const BUNDLE_TIMEOUT_MS = 30_000
/** An interpreter that starts slowly, all of them being asked at once of a cold disk, is not one that is missing. */
const VERSION_TIMEOUT_MS = 30_000

export interface LangsOptions {
  /** Folder with one folder per kernel type. */
  readonly langsDir: string
  /** Folder of the agent's source. */
  readonly agentDir: string
  /** Where the bundles that go into sandboxes are written. */
  readonly bundleDir: string
}

/**
 * Reads every manifest. Which interpreters this machine has is looked up, and the agent bundled with a kernel type's evaluator, when
 * that is first asked for. Throws a readable error for a broken manifest.
 */
export async function createLangs(options: LangsOptions): Promise<Langs> {
  await mkdir(options.bundleDir, { recursive: true, mode: 0o700 })
  const folders = (await readdir(options.langsDir, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => path.join(options.langsDir, name))
    .filter((folder) => existsSync(path.join(folder, MANIFEST)))
  const entries = (await Promise.all(folders.map((folder) => read(options, folder)))).flat()
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))

  const byName = new Map<string, LangEntry>()
  for (const entry of entries) {
    for (const name of [entry.name, ...entry.aliases]) {
      const taken = byName.get(name)
      if (taken) throw new Error(`kernel types ${taken.name} and ${entry.name} both claim the name "${name}"`)
      byName.set(name, entry)
    }
  }
  return {
    find: (name) => byName.get(name),
    names: () => entries.map(({ name }) => name),
    list: () => Promise.all(entries.map((entry) => entry.info())),
  }
}

interface Entry extends LangEntry {
  readonly aliases: readonly string[]
}

async function read(options: LangsOptions, folder: string): Promise<Entry[]> {
  const file = path.join(folder, MANIFEST)
  const parsed = langManifestSchema.safeParse(JSON.parse(await readFile(file, 'utf8')))
  if (!parsed.success) throw new Error(`${file}: ${parsed.error.message}`)
  const manifest = parsed.data
  const isMany = manifest.kernelspecs.length > 0
  const specs = isMany ? await findKernelspecs(manifest) : []
  const version = atFirst(() => readVersion(manifest))
  const files = atFirst(() => prepareFiles(options, folder, manifest))

  const entryOf = (own: LangManifest, isKnown: boolean): Entry => {
    const { lang, aliases, displayName, features, install } = own
    const info = { lang, aliases, displayName, features }
    const findVersion = async (): Promise<string | undefined> =>
      isKnown && isProgram(own.interpreter) ? version() : undefined
    const profile = async (): Promise<Lang> => ({
      manifest: own,
      profile: {
        name: lang,
        argv: [PYTHON, '-B', AGENT_PATH, '--listen-fd', '3', '--evaluator', JSON.stringify(own.evaluator)],
        files: await files(),
      },
    })
    return {
      name: lang,
      aliases,
      install,
      async info() {
        const found = await findVersion()
        return found === undefined
          ? { ...info, version: null, available: false, install }
          : { ...info, version: isMany ? null : found, available: true }
      },
      load: async () => ((await findVersion()) === undefined ? undefined : profile()),
    }
  }
  if (!isMany) return [entryOf(manifest, true)]
  return specs.length === 0 ? [entryOf(manifest, false)] : specs.map((spec) => entryOf(spec, true))
}

/** What goes into the sandboxes of a kernel type: the agent with its evaluator, its files, what it needs of the host's `/etc`. */
async function prepareFiles(
  { bundleDir, langsDir, agentDir }: LangsOptions,
  folder: string,
  { lang, includes, evaluator, etc }: LangManifest,
): Promise<{ path: string; source: string }[]> {
  const bundle = path.join(bundleDir, `${lang}.pyz`)
  const folders = [folder, ...includes.map((name) => path.join(langsDir, name))]
  const isForked = evaluator.start === 'fork'
  await run(PYTHON, ['-I', path.join(agentDir, 'bundle.py'), bundle, ...(isForked ? folders : [])], {
    timeout: BUNDLE_TIMEOUT_MS,
    env: {},
  })
  const files = await Promise.all(folders.map((each) => findFiles(each, isForked)))
  return [{ path: AGENT_PATH, source: bundle }, ...files.flat(), ...(await findEtc(etc))]
}

/** Does `work` at the first call, and once more after it failed or found nothing. */
function atFirst<T>(work: () => Promise<T>): () => Promise<T> {
  let done: Promise<T> | undefined
  const forget = (): void => {
    done = undefined
  }
  return () => {
    if (!done) {
      done = work()
      done.then((found) => found === undefined && forget(), forget)
    }
    return done
  }
}

/** What of a kernel type's folder is put into its sandboxes as files; the modules of a forked evaluator are in the bundle. */
async function findFiles(folder: string, isForked: boolean): Promise<{ path: string; source: string }[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => entry.isFile() && !NOT_SHIPPED.test(entry.name))
    .filter(({ name }) => !isForked || path.extname(name) !== '.py')
    .map(({ name, parentPath }) => {
      const source = path.join(parentPath, name)
      return { path: path.join(LANG_FOLDER, path.relative(folder, source)), source }
    })
}

/** Undefined where the interpreter is missing or does not run. */
async function readVersion({ versionCommand }: LangManifest): Promise<string | undefined> {
  const [command, ...args] = versionCommand
  if (command === undefined) return undefined
  try {
    const { stdout } = await run(command, args, { timeout: VERSION_TIMEOUT_MS, env: {} })
    return stdout.trim().split('\n')[0] ?? ''
  } catch {
    return undefined
  }
}

/** Of the host's `/etc`, below the folders of these names, what everybody may read. */
async function findEtc(patterns: readonly string[]): Promise<{ path: string; source: string }[]> {
  const isWanted = new RegExp(
    `^(?:${patterns.map((pattern) => pattern.replaceAll('.', '\\.').replaceAll('*', '.*')).join('|')})$`,
  )
  if (patterns.length === 0) return []
  const folders = (await readdir('/etc')).filter((name) => isWanted.test(name))
  const files = await Promise.all(
    folders.map(async (folder) => {
      const entries = await readdir(path.join('/etc', folder), { withFileTypes: true, recursive: true })
      return entries
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => path.join(parentPath, name))
    }),
  )
  const stats = await Promise.all(files.flat().map(async (file) => ({ file, mode: (await stat(file)).mode })))
  return stats.filter(({ mode }) => mode & 0o004).map(({ file }) => ({ path: file, source: file }))
}
