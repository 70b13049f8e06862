import { type Attack, python } from './attack.ts'

const CANARY_FILES = "['environ', 'cmdline', 'mountinfo', 'cgroup', 'maps']"

const MARK = `
for folder in ('/tmp', '/home/work', '/dev/shm'): open(folder + '/marker-of-a-neighbour', 'w').close()`
const search = python(
  '',
  [],
  `
for root, folders, files in os.walk('/'):
    if root.startswith(('/proc', '/sys', '/usr')): folders[:] = []; continue
    if 'marker-of-a-neighbour' in files: hole(root)`,
)

/** Reaching what belongs to the host or to another session. */
export const FILES: readonly Attack[] = [
  python(
    'read /etc/shadow and other files of the host',
    [],
    `
for path in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/root/.bash_history', '/root', '/etc/ssh', '/etc/machine-id', '/etc/hostid', '/sys/kernel', '/boot', '/proc/1/root', '/proc/1/cwd'):
    attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else slurp(path))
users = [line.split(':')[0] for line in open('/etc/passwd')]
if users != ['root', 'work', 'nobody']: hole(f'users of the host: {users}')`,
  ),
  python(
    'read a world-readable file of a host folder',
    ['minimal-root'],
    ({ bait }) => `
attempt('host file', lambda: slurp(${JSON.stringify(bait.hostFile)}))`,
  ),
  python(
    "read a file of /usr that is root's alone",
    ['own-uid'],
    ({ bait }) => `
attempt('root file', lambda: slurp(${JSON.stringify(bait.rootFile)}))`,
  ),
  python(
    "find the server's environment in /proc",
    ['empty-environment'],
    ({ bait }) => `
for name in ${CANARY_FILES}:
    for path in glob.glob(f'/proc/[0-9]*/{name}') + glob.glob(f'/proc/[0-9]*/task/*/{name}'):
        try: content = slurp(path)
        except OSError: continue
        if b'${bait.canary.slice(0, 12)}' + b'${bait.canary.slice(12)}' in content: hole(path)`,
  ),
  python(
    'find paths of the host in /proc',
    [],
    ({ server }) => `
needle = ''.join(${JSON.stringify([...server.dataDir])}).encode()
for name in ${CANARY_FILES} + ['mounts', 'mountstats', 'smaps', 'status', 'exe']:
    for path in glob.glob(f'/proc/[0-9]*/{name}') + ['/proc/net/unix', '/proc/mounts', '/proc/swaps']:
        try: content = slurp(path) if name != 'exe' else os.readlink(path).encode()
        except OSError: continue
        if needle in content: hole(path)`,
  ),
  python(
    'use descriptors the server holds',
    ['closed-descriptors', 'undumpable-agent'],
    ({ bait }) => `
for fd in range(3, 4096):
    try: target, content = os.readlink(f'/proc/self/fd/{fd}'), os.pread(fd, 100, 0)
    except OSError: continue
    if b'${bait.canary}' in content or 'cob-bait' in target: hole(f'{fd} is {target}')
for path in glob.glob('/proc/*/fd/*'):
    try: target = os.readlink(path)
    except OSError: continue
    if not target.startswith(('pipe:', 'socket:', 'anon_inode:', '/dev/null', '/proc/', '/dev/pts')): hole(f'{path} is {target}')`,
  ),
  {
    name: "find another session's file",
    layers: [],
    async run(target) {
      await target.api.run(target.neighbour, MARK)
      return search.run(target)
    },
  },
  python(
    "reach the server's and Docker's sockets",
    [],
    ({ server }) => `
paths = ['/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket']
paths += [${JSON.stringify(server.dataDir)} + '/run', ${JSON.stringify(server.dataDir)} + '/cob.db', ${JSON.stringify(server.dataDir)} + '/sessions', ${JSON.stringify(server.dataDir)} + '/bootstrap-key']
for path in paths: attempt(path, lambda: os.stat(path))
for root, folders, files in os.walk('/'):
    if root.startswith(('/proc', '/usr')): folders[:] = []; continue
    for name in files:
        try: kind = os.lstat(os.path.join(root, name)).st_mode & 0o170000
        except OSError: continue
        if kind == 0o140000: hole(os.path.join(root, name))`,
  ),
  python(
    'write to /',
    ['read-only-root'],
    `
for path in ('/x', '/etc/x', '/etc/passwd', '/opt/cob/x', '/dev/x', '/home/x', '/opt/cob/agent.pyz'):
    attempt(path, lambda: open(path, 'a').close())`,
  ),
  python(
    'write to /usr',
    [],
    `
for path in ('/usr/x', '/usr/bin/x', '/usr/bin/python3', '/usr/lib/python3/dist-packages/x.py', '/bin/sh', '/lib/x'):
    attempt(path, lambda: open(path, 'a').close())
attempt('rename', lambda: os.rename('/usr/bin/env', '/usr/bin/env2'))
attempt('chmod', lambda: os.chmod('/usr/bin/env', 0o777))`,
  ),
  python(
    'make and open device nodes',
    [],
    `
import stat
for major, minor, kind in ((8, 0, stat.S_IFBLK), (254, 0, stat.S_IFBLK), (1, 1, stat.S_IFCHR), (10, 232, stat.S_IFCHR)):
    attempt(f'{major}:{minor}', lambda: os.mknod('/tmp/node', kind | 0o600, os.makedev(major, minor)))
for name in ('mem', 'kmem', 'port', 'sda', 'vda', 'kvm', 'fuse', 'net/tun', 'kmsg', 'loop-control'):
    attempt(name, lambda: os.open('/dev/' + name, os.O_RDWR))`,
  ),
  python(
    'climb out by links, mounts and working directories',
    [],
    `
os.makedirs('/tmp/a/b', exist_ok=True)
for target in ('/proc/1/root', '/proc/1/cwd', '/proc/self/fd/3/../..'):
    try: os.unlink('/tmp/link')
    except OSError: pass
    os.symlink(target, '/tmp/link')
    attempt(target, lambda: os.listdir('/tmp/link/var'))
attempt('chroot', lambda: os.chroot('/tmp'))
for up in ('../' * 40 + 'var', '../' * 40 + 'root'): attempt(up, lambda: os.listdir(up))`,
  ),
]
