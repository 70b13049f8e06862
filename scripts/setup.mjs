// Prepares a fresh clone: npm packages, Node 24 among them, and the system's packages. Runs before `npm start` and `npm test` on
// whatever Node is installed (18 or later), so it is plain JavaScript without dependencies.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const STAMP = join(ROOT, 'node_modules/.cob-setup')
const LOCK = join(ROOT, 'node_modules/.cob-setup.lock')
const NODE = join(ROOT, 'node_modules/.bin/node')

/** Something of the system that is needed: where it is found, and Debian's package for it. */
const SYSTEM = [
  {
    name: 'bubblewrap',
    packageName: 'bubblewrap',
    isThere: () => ['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap'].some(existsSync),
  },
  { name: '/usr/bin/python3', packageName: 'python3', isThere: () => existsSync('/usr/bin/python3') },
]
const FOR_TESTS = [
  { name: 'numpy', packageName: 'python3-numpy', isThere: () => canImport('numpy') },
  { name: 'matplotlib', packageName: 'python3-matplotlib', isThere: () => canImport('matplotlib') },
  { name: 'pandas', packageName: 'python3-pandas', isThere: () => canImport('pandas') },
  { name: 'pip', packageName: 'python3-pip', isThere: () => canImport('pip') },
  { name: 'libseccomp for Python', packageName: 'python3-seccomp', isThere: () => canImport('seccomp') },
  {
    name: "the container engines' system call list",
    packageName: 'golang-github-containers-common',
    isThere: () => existsSync('/usr/share/containers/seccomp.json'),
  },
  { name: 'slirp4netns', packageName: 'slirp4netns', isThere: () => existsSync('/usr/bin/slirp4netns') },
  { name: 'nft', packageName: 'nftables', isThere: () => existsSync('/usr/sbin/nft') },
  {
    name: 'ip',
    packageName: 'iproute2',
    isThere: () => ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip'].some(existsSync),
  },
  { name: 'vim', packageName: 'vim', isThere: () => existsSync('/usr/bin/vim') },
  { name: 'top', packageName: 'procps', isThere: () => existsSync('/usr/bin/top') },
  { name: 'PIL', packageName: 'python3-pil', isThere: () => canImport('PIL') },
  { name: 'ipykernel', packageName: 'python3-ipykernel', isThere: () => canImport('ipykernel_launcher') },
  {
    name: 'IRkernel',
    packageName: 'r-cran-irkernel',
    isThere: () => existsSync('/usr/share/jupyter/kernels/ir'),
  },
  {
    name: 'the Jupyter kernel of Octave',
    packageName: 'python3-octave-kernel',
    isThere: () => existsSync('/usr/share/jupyter/kernels/octave'),
  },
  {
    name: 'xeus-python',
    packageName: 'xpython',
    isThere: () => existsSync('/usr/share/jupyter/kernels/xpython'),
  },
  { name: 'mkfs.ext4', packageName: 'e2fsprogs', isThere: () => existsSync('/usr/sbin/mkfs.ext4') },
  { name: 'venv', packageName: 'python3-venv', isThere: () => canImport('ensurepip') },
]
/** The interpreter of every kernel type: its manifest knows Debian's packages for it. */
const INTERPRETERS = readdirSync(join(ROOT, 'langs'))
  .map((name) => join(ROOT, 'langs', name, 'lang.json'))
  .filter(existsSync)
  .map((file) => JSON.parse(readFileSync(file, 'utf8')))
  .map(({ displayName, interpreter, install }) => ({
    name: displayName,
    packageName: install.replace('apt-get install ', ''),
    isThere: () => existsSync(interpreter),
  }))
const FOR_MACHINE = [
  {
    name: 'qemu-system-x86_64',
    packageName: 'qemu-system-x86',
    isThere: () => existsSync('/usr/bin/qemu-system-x86_64'),
  },
]

const say = (text) => process.stderr.write(`cob: ${text}\n`)
const stop = (text) => {
  say(text)
  process.exit(1)
}

installNpmPackages()
const couldNot = installSystemPackages(SYSTEM)
if (couldNot) stop(couldNot)
const wanted = [
  ...(process.argv.includes('--test') ? [...FOR_TESTS, ...INTERPRETERS] : []),
  ...(process.argv.includes('--machine') ? FOR_MACHINE : []),
]
const cannotTest = installSystemPackages(wanted)
if (cannotTest) say(`${cannotTest}\n\nTESTS THAT NEED THEM WILL FAIL.`)

function installNpmPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex')
  const isDone = () => existsSync(STAMP) && readFileSync(STAMP, 'utf8') === lock && existsSync(NODE)
  if (isDone()) return
  waitForTurn()
  if (isDone()) return
  say('installing npm packages (half a minute) ...')
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  // Not `npm ci`, which refuses a lock file that lacks an optional package of another platform.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const done = spawnSync(npm[0], [...npm.slice(1), ...args], { cwd: ROOT, stdio: ['ignore', 2, 2] })
  if (done.status !== 0)
    stop('npm install failed; what it said is above. Check the network and the npm registry, then try again.')
  ensureNode()
  writeFileSync(STAMP, lock)
}

/** One installation at a time: two at once destroy each other's files. */
function waitForTurn() {
  mkdirSync(dirname(LOCK), { recursive: true })
  for (let isFirst = true; !takeTurn(); isFirst = false) {
    if (isFirst) say('waiting for another installation in this folder (node_modules/.cob-setup.lock) ...')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
  process.on('exit', () => rmSync(LOCK, { force: true }))
}

function takeTurn() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  try {
    const holder = Number(readFileSync(LOCK, 'utf8'))
    // Written in the moment after it was made.
    if (holder > 0) process.kill(holder, 0)
  } catch (error) {
    // Its process was killed.
    if (error.code === 'ESRCH') rmSync(LOCK, { force: true })
    else if (error.code !== 'ENOENT' && error.code !== 'EPERM') throw error
  }
  return false
}

/** The package `node` brings its binary by an install script, which some npm settings leave out. */
function ensureNode() {
  if (nodeVersion() >= 24) return
  const done = spawnSync(process.execPath, ['installArchSpecificPackage.js'], {
    cwd: join(ROOT, 'node_modules/node'),
    stdio: ['ignore', 2, 2],
  })
  if (done.status !== 0 || nodeVersion() < 24) {
    stop(
      'Node 24 did not install. Allow the install script of the npm package "node" (npm config set ignore-scripts false), then try again.',
    )
  }
}

function nodeVersion() {
  try {
    return Number.parseInt(execFileSync(NODE, ['--version'], { encoding: 'utf8' }).slice(1), 10)
  } catch {
    return 0
  }
}

/** Undefined, or what to do because it could not. */
function installSystemPackages(wanted) {
  const isMissing = ({ isThere }) => !isThere()
  const missing = wanted.filter(isMissing)
  if (missing.length === 0) return undefined
  const names = missing.map(({ name }) => name).join(', ')
  const packages = missing.map(({ packageName }) => packageName).join(' ')
  const byHand = `Install with:\n\n    sudo apt-get update && sudo apt-get install -y ${packages}\n\n(on other systems: the packages of the same name), then try again.`
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return `${names} missing. ${byHand}`
  say(`installing ${packages} ...`)
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args) =>
    spawnSync('/usr/bin/apt-get', ['-qq', ...args], { stdio: ['ignore', 2, 2], env: environment }).status ===
    0
  const install = () => apt('install', '-y', '--no-install-recommends', ...packages.split(' '))
  // The lists of a fresh machine may be empty or old.
  if ((install() || (apt('update') && install())) && !missing.some(isMissing)) return undefined
  return `could not install ${packages}; what apt-get said is above. ${byHand}`
}

/** With the interpreter sandboxes use, and by looking, as importing takes a second. A folder that a removed package left has no origin. */
function canImport(module) {
  if (!existsSync('/usr/bin/python3')) return false
  const code = `import importlib.util, sys; spec = importlib.util.find_spec(${JSON.stringify(module)}); sys.exit(spec is None or spec.origin is None)`
  return spawnSync('/usr/bin/python3', ['-c', code], { stdio: 'ignore' }).status === 0
}
