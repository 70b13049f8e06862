import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Network } from '@cob/protocol'
import { RESOLVER } from './egress-rules.ts'

/** The name and numeric id of the one user inside a sandbox. */
export const SANDBOX_USER = 'work'
export const SANDBOX_UID = 1000
export const SANDBOX_HOME = '/home/work'
export const SANDBOX_HOSTNAME = 'cob'

/** What of the host's system, and of files made for it, a sandbox's root consists of. Same for all sandboxes. */
export interface RootLayout {
  /** System folders bound read-only under their own path. */
  readonly binds: readonly string[]
  readonly symlinks: readonly { readonly path: string; readonly target: string }[]
  /** Files copied in: `path` inside, `source` on the host. */
  readonly files: readonly FileCopy[]
  /** More of them for a sandbox with this network. */
  readonly networkFiles: Readonly<Record<Network, readonly FileCopy[]>>
}

interface FileCopy {
  readonly path: string
  readonly source: string
}

/** Files of `/etc` that say nothing of this host or its users. */
const MADE_FILES: Readonly<Record<string, string>> = {
  passwd: `root:x:0:0:root:/:/usr/sbin/nologin\n${SANDBOX_USER}:x:${SANDBOX_UID}:${SANDBOX_UID}::${SANDBOX_HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n`,
  group: `root:x:0:\n${SANDBOX_USER}:x:${SANDBOX_UID}:\nnogroup:x:65534:\n`,
  hosts: `127.0.0.1 localhost ${SANDBOX_HOSTNAME}\n::1 localhost\n`,
  hostname: `${SANDBOX_HOSTNAME}\n`,
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  timezone: 'Etc/UTC\n',
}

/** `/etc/resolv.conf` (resolv.conf(5)) by what the sandbox reaches. */
const RESOLV_CONF: Readonly<Record<Network, string>> = { none: '', egress: `nameserver ${RESOLVER}\n` }

/** Files of the host's `/etc` that libraries need and that hold no secret: the linker's cache, matplotlib, MIME types, fonts. */
const COPIED_FILES = ['ld.so.cache', 'matplotlibrc', 'mime.types', 'fonts/fonts.conf']

/** Works out the root of all sandboxes, and writes the made files to `dir` (emptied first). */
export async function createRootLayout(dir: string): Promise<RootLayout> {
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const files = []
  for (const [name, content] of Object.entries(MADE_FILES)) {
    await writeFile(join(dir, name), content, { mode: 0o600 })
    files.push({ path: `/etc/${name}`, source: join(dir, name) })
  }
  for (const name of COPIED_FILES) {
    if (existsSync(`/etc/${name}`)) files.push({ path: `/etc/${name}`, source: `/etc/${name}` })
  }
  const toResolvConf = async (network: Network): Promise<FileCopy[]> => {
    const source = join(dir, `resolv.conf.${network}`)
    await writeFile(source, RESOLV_CONF[network], { mode: 0o600 })
    return [{ path: '/etc/resolv.conf', source }]
  }
  const networkFiles = { none: await toResolvConf('none'), egress: await toResolvConf('egress') }
  const binds = ['/usr']
  const symlinks = [
    { path: '/etc/localtime', target: '/usr/share/zoneinfo/Etc/UTC' },
    { path: '/etc/os-release', target: '../usr/lib/os-release' },
    ...findAlternatives(),
  ]
  for (const path of ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']) {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat?.isSymbolicLink()) symlinks.push({ path, target: readlinkSync(path) })
    else if (stat) binds.push(path)
  }
  return { binds, symlinks, files, networkFiles }
}

/** Debian's choices between programs and libraries (update-alternatives(1)): awk, BLAS, ...; not the manual pages'. */
function findAlternatives(): { path: string; target: string }[] {
  const dir = '/etc/alternatives'
  if (!existsSync(dir)) return []
  const links = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isSymbolicLink())
  return links
    .map(({ name }) => ({ path: join(dir, name), target: readlinkSync(join(dir, name)) }))
    .filter(({ target }) => /^\/usr\/(bin|sbin|lib\w*)\//.test(resolve(dir, target)) && existsSync(target))
}
