import type { Layer } from './layers.ts'
import type { RootLayout } from './root-files.ts'
import { SANDBOX_HOME, SANDBOX_HOSTNAME, SANDBOX_UID, SANDBOX_USER } from './root-files.ts'

/** Sizes of what a sandbox may write to, in bytes. Their pages count towards its memory. */
export interface StorageLimits {
  /** `/home/work` */
  readonly homeBytes: number
  readonly tmpBytes: number
  /** `/dev/shm`, where multiprocessing and shared arrays live. */
  readonly shmBytes: number
}

/** Limits of a single process (setrlimit(2)). Core dumps are off. */
export interface ProcessLimits {
  readonly openFilesSoft: number
  readonly openFilesHard: number
  readonly fileBytes: number
  /**
   * Of one user id, so only where a sandbox has one of its own. Its cgroup holds it to as many, but late: whoever is refused there has been
   * copied by then, and the locks on the pages of libc that a fork bomb takes again and again are those the server needs to make a process.
   */
  readonly processes?: number | undefined
}

export interface BubblewrapOptions {
  readonly layout: RootLayout
  readonly storage: StorageLimits
  /** Files to copy in, each from an open descriptor that bubblewrap reads and closes. */
  readonly files: readonly { readonly path: string; readonly fd: number }[]
  /** The system call filter's program, on an open descriptor. */
  readonly seccompFd: number | undefined
  readonly infoFd: number
  /** Ends the sandbox when the thread that started it ends. */
  readonly dieWithParent: boolean
  /** It has been put into a network namespace, and stays there. */
  readonly keepsNetwork: boolean
  readonly without: ReadonlySet<Layer>
}

const ENVIRONMENT: Readonly<Record<string, string>> = {
  HOME: SANDBOX_HOME,
  USER: SANDBOX_USER,
  LOGNAME: SANDBOX_USER,
  SHELL: '/bin/sh',
  PATH: '/usr/local/bin:/usr/bin:/bin',
  LANG: 'C.UTF-8',
  TERM: 'xterm-256color',
}

const CERTIFICATES = '/etc/ssl/certs'

/** Of the host, and in no sandbox; tests put them in to see that something notices. */
const HOST_FOLDERS = ['/root', '/var', '/run', '/srv']

/** The options of one sandbox for bubblewrap's `--args` (bwrap(1)), in the order they are carried out. */
export function toBubblewrapArguments(options: BubblewrapOptions): string[] {
  const { layout, storage, without } = options
  const layer = (name: Layer, ...args: string[]): string[] => (without.has(name) ? [] : args)
  const tmpfs = (mode: string, bytes: number, path: string): string[] => [
    ...['--perms', mode, ...layer('storage-size', '--size', String(bytes)), '--tmpfs', path],
  ]
  return [
    ...['--unshare-user', '--uid', String(SANDBOX_UID), '--gid', String(SANDBOX_UID)],
    // The agent itself is pid 1: no signal from inside stops or kills it, and its end ends the sandbox.
    ...layer('pid-namespace', '--unshare-pid', '--as-pid-1'),
    ...(options.keepsNetwork ? [] : layer('network-namespace', '--unshare-net')),
    ...layer('ipc-namespace', '--unshare-ipc'),
    ...layer('uts-namespace', '--unshare-uts', '--hostname', SANDBOX_HOSTNAME),
    ...layer('cgroup-namespace', '--unshare-cgroup'),
    // User namespaces inside would open most of the kernel's surface again.
    ...layer('no-user-namespaces', '--disable-userns'),
    ...layer('no-capabilities', '--cap-drop', 'ALL'),
    ...(options.seccompFd === undefined ? [] : ['--seccomp', String(options.seccompFd)]),
    '--new-session',
    ...(options.dieWithParent ? ['--die-with-parent'] : []),
    ...['--info-fd', String(options.infoFd)],
    ...layout.binds.flatMap((path) => ['--ro-bind', path, path]),
    ...(without.has('minimal-root') ? HOST_FOLDERS.flatMap((path) => ['--ro-bind-try', path, path]) : []),
    // For TLS: which authorities this host trusts.
    ...(options.keepsNetwork ? ['--ro-bind-try', CERTIFICATES, CERTIFICATES] : []),
    ...layout.symlinks.flatMap(({ path, target }) => ['--symlink', target, path]),
    // Copies, not binds: a bind shows its path on the host in /proc/self/mountinfo.
    ...options.files.flatMap(({ path, fd }) => ['--perms', '0444', '--file', String(fd), path]),
    ...(without.has('pid-namespace') ? ['--ro-bind', '/proc', '/proc'] : ['--proc', '/proc']),
    ...['--dev', '/dev'],
    ...tmpfs('1777', storage.shmBytes, '/dev/shm'),
    ...tmpfs('1777', storage.tmpBytes, '/tmp'),
    ...tmpfs('0700', storage.homeBytes, SANDBOX_HOME),
    // Both are tmpfs without a size, owned by the sandbox's user.
    ...layer('read-only-root', '--remount-ro', '/dev', '--remount-ro', '/'),
    ...['--chdir', SANDBOX_HOME],
    ...Object.entries(ENVIRONMENT).flatMap(([name, value]) => ['--setenv', name, value]),
  ]
}

/**
 * The sandbox's first command: sets what bubblewrap has no option for, says so on `readyFd`, and becomes
 * `argv` when it is answered there. It ends when nobody answers: `--die-with-parent` does nothing about a server
 * that was killed before it took effect in here, and the descriptors of one that is being killed may outlive its
 * main thread. POSIX `ulimit -f` counts blocks of 512 bytes. A hard limit already lower than asked for stays.
 */
export function toFirstCommand(
  argv: readonly string[],
  limits: ProcessLimits | undefined,
  { readyFd, unusedFd }: { readonly readyFd: number; readonly unusedFd: number },
): string[] {
  const script = [
    ...(limits ? toUlimits(limits) : []),
    '[ -x "$1" ] || { echo "$1 cannot be run in the sandbox" >&2; exit 127; }',
    `echo ready >&${readyFd} && read -r go <&${readyFd} || exit 1`,
    `exec "$@" 2>/dev/null ${readyFd}>&- ${unusedFd}>&-`,
  ]
  return ['/bin/sh', '-c', script.join('\n'), 'sh', ...argv]
}

function toUlimits(limits: ProcessLimits): string[] {
  return [
    'ulimit -c 0',
    `ulimit -f ${Math.ceil(limits.fileBytes / 512)} 2>/dev/null`,
    // dash calls it -p, bash -u.
    ...(limits.processes === undefined
      ? []
      : [`{ ulimit -p ${limits.processes} || ulimit -u ${limits.processes}; } 2>/dev/null`]),
    // In this order: soft <= hard at every moment.
    `ulimit -S -n ${limits.openFilesSoft} 2>/dev/null`,
    `ulimit -H -n ${limits.openFilesHard} 2>/dev/null`,
  ]
}
