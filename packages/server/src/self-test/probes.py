# What a session's code may not be able to do, tried from inside one. The server runs this as any user's code, with
# GIVEN set: the JSON object of self-test.ts. Prints one JSON object, {probe: {ok, detail}}.

import ctypes
import errno
import glob
import json
import os
import resource
import signal
import socket
import stat

libc = ctypes.CDLL(None, use_errno=True)
PROBES = {}


class Hole(Exception):
    """Something got out; the message tells what."""


def probe(name):
    def add(function):
        PROBES[name] = function
        return function
    return add


def must_fail(what, action, *numbers):
    """`action` must raise an OSError, of one of these numbers if any are given."""
    try:
        action()
    except OSError as problem:
        if numbers and problem.errno not in numbers:
            raise Hole(f'{what} fails with {errno.errorcode[problem.errno]}, not as it is meant to') from None
        return
    raise Hole(f'{what} is possible')


def call(number, *arguments):
    """A system call by number; OSError as C code would see it."""
    if libc.syscall(number, *[ctypes.c_ulong(argument & (1 << 64) - 1) for argument in arguments]) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_child(action):
    """The wait status of a child that runs `action`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def read(path):
    with open(path, 'rb') as file:
        return file.read()


@probe('host files')
def host_files():
    allowed = {'/home': {'work'}}
    for folder in ('/home', '/root', '/var', '/run', '/opt', '/srv', '/mnt', '/media', '/boot', '/sys', '/etc/ssh'):
        shown = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if folder == '/opt':
            shown.discard('cob')
        if shown - allowed.get(folder, set()):
            raise Hole(f'{folder} of the host shows: {sorted(shown)[:3]}')
    for path in ('/etc/shadow', '/etc/machine-id', GIVEN['dataDir'], '/proc/1/root/etc'):
        must_fail(f'reading {path}', lambda: os.listdir(path) if os.path.isdir(path) else read(path))
    return "a root of its own, without the host's folders"


@probe('read-only system')
def read_only_system():
    for path in ('/cob-probe', '/usr/cob-probe', '/etc/cob-probe', '/dev/cob-probe', '/usr/lib/cob-probe'):
        must_fail(f'writing {path}', lambda: open(path, 'w').close())
    must_fail('changing /etc/passwd', lambda: open('/etc/passwd', 'a').close())
    return 'only /home/work, /tmp and /dev/shm can be written'


@probe('devices')
def devices():
    usual = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx', 'pts', 'shm', 'fd', 'stdin', 'stdout', 'stderr', 'core'}
    if set(os.listdir('/dev')) - usual:
        raise Hole(f"/dev shows {sorted(set(os.listdir('/dev')) - usual)}")
    must_fail('making a device node', lambda: os.mknod('/tmp/cob-probe', stat.S_IFBLK | 0o600, os.makedev(8, 0)))
    return 'the harmless ones, and none can be made'


@probe('environment')
def environment():
    names = set()
    for path in glob.glob('/proc/[0-9]*/environ'):
        try:
            names |= {entry.split(b'=')[0].decode() for entry in read(path).split(b'\0') if entry}
        except OSError:
            pass  # the agent's
    usual = {'HOME', 'USER', 'LOGNAME', 'SHELL', 'PATH', 'LANG', 'TERM', 'PWD', 'OLDPWD', 'SHLVL', '_', 'LC_CTYPE'}
    if names - usual:
        raise Hole(f"the server's variables show: {sorted(names - usual)[:3]}")
    return "made for the sandbox; nothing of the server's"


@probe('host paths')
def host_paths():
    needle = GIVEN['dataDir'].encode()
    for path in glob.glob('/proc/[0-9]*/cmdline') + ['/proc/self/mountinfo', '/proc/self/cgroup', '/proc/self/maps']:
        if needle in read(path):
            raise Hole(f'{path} tells where the server keeps its data')
    return 'no command line or mount tells of the server'


@probe('descriptors')
def descriptors():
    for fd in os.listdir('/proc/self/fd'):
        try:
            target = os.readlink(f'/proc/self/fd/{fd}')
        except OSError:
            continue  # the one that listed
        if not target.startswith(('pipe:', 'socket:', 'anon_inode:', '/dev/null', '/proc/')):
            raise Hole(f'descriptor {fd} leads to {target}')
    return 'pipes and sockets of the sandbox only'


@probe('agent')
def agent():
    for name in ('mem', 'environ', 'maps', 'fd'):
        path = f'/proc/1/{name}'
        must_fail(f'reading {path}', lambda: os.listdir(path) if name == 'fd' else read(path), errno.EACCES, errno.EPERM)
    must_fail('writing /proc/1/mem', lambda: open('/proc/1/mem', 'r+b').close())
    os.kill(1, signal.SIGKILL)  # has no effect on the init of a process namespace
    return 'memory and descriptors closed to code, not killable'


@probe('capabilities')
def capabilities():
    fields = dict(line.split(':\t') for line in read('/proc/self/status').decode().splitlines() if ':\t' in line)
    for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
        if int(fields[name], 16):
            raise Hole(f'{name} is {fields[name]}')
    if fields['NoNewPrivs'] != '1':
        raise Hole('set-uid programs give privileges')
    return 'none, and set-uid programs give none'


@probe('forbidden calls')
def forbidden_calls():
    numbers = GIVEN['systemCalls']
    with open('/proc/self/status', encoding='ascii') as file:
        if 'Seccomp:\t2\n' not in file.read():
            raise Hole('there is no filter')
    for name, number in numbers.items():
        must_fail(name, lambda: call(number, 0, 0, 0, 0, 0), errno.EPERM)
    for family in (16, 17, 38, 40, 44):  # netlink, packet, crypto, vsock, XDP
        must_fail(f'a socket of family {family}', lambda: socket.socket(family, socket.SOCK_RAW, 0), errno.EPERM, errno.EOPNOTSUPP)
    return f'filtered; {len(numbers)} calls and 5 socket families refused'


@probe('namespaces')
def namespaces():
    shared = [name for name, host in GIVEN['namespaces'].items() if os.readlink(f'/proc/self/ns/{name}') == host]
    if shared:
        raise Hole(f"shared with the server: {', '.join(shared)}")
    return f"own ones: {', '.join(GIVEN['namespaces'])}"


@probe('new namespaces')
def new_namespaces():
    def unshare(flag):
        # In a child, which would be in the new one.
        if os.waitstatus_to_exitcode(in_child(lambda: call(GIVEN['unshare'], flag))) == 0:
            raise Hole('one can be made')
    for flag in (0x20000, 0x10000000, 0x40000000, 0x10000000 | 0x40000000 | 0x20000):
        unshare(flag)
    return 'none can be made'


@probe('other processes')
def other_processes():
    pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    if len(pids) > 4 or 1 not in pids:
        raise Hole(f'{len(pids)} processes show')
    return f"{len(pids)}, all the session's own"


@probe('kernel settings')
def kernel_settings():
    for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches'):
        must_fail(f'writing {path}', lambda: open(path, 'w').close())
    must_fail('changing the host name', lambda: socket.sethostname('cob-probe'))
    return 'cannot be changed'


@probe('network')
def network():
    interfaces = [line.split(':')[0].strip() for line in read('/proc/net/dev').decode().splitlines()[2:]]
    if interfaces != GIVEN['interfaces']:
        raise Hole(f'interfaces: {interfaces}')
    for address in GIVEN['listeners']:
        must_fail(f'reaching the host at {address}', lambda: socket.create_connection(tuple(address), 2).close())
    refused = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
    for host in GIVEN['closed']:
        # Over IPv6 the rules answer as a closed port would, since TCP heeds nothing else at once.
        numbers = (*refused, errno.ECONNREFUSED) if ':' in host else refused
        must_fail(f'reaching {host}', lambda: socket.create_connection((host, 80), 2).close(), *numbers)
    with socket.socket(socket.AF_UNIX) as client:
        must_fail("reaching the host's abstract sockets", lambda: client.connect('\0' + GIVEN['abstract']))
    return f"{', '.join(interfaces)}; this host, private and link-local addresses are out of reach"


@probe('memory bomb')
def memory_bomb():
    def take():
        block = bytearray(2 * GIVEN['memoryBytes'])
        for at in range(0, len(block), 4096):
            block[at] = 1
    status = in_child(take)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise Hole(f"a process took {2 * GIVEN['memoryBytes']} bytes, twice the limit")
    return f"a process that takes twice its {GIVEN['memoryBytes'] >> 20} MiB is killed"


@probe('fork bomb')
def fork_bomb():
    waiting, done = os.pipe()
    children = []
    try:
        while len(children) <= GIVEN['processes']:
            pid = os.fork()
            if pid == 0:
                os.close(done)
                os.read(waiting, 1)
                os._exit(0)
            children.append(pid)
        raise Hole(f'{len(children)} processes could be started, more than the limit')
    except BlockingIOError:
        return f'stops at {len(children)} children'
    finally:
        os.close(done)
        os.close(waiting)
        for pid in children:
            os.waitpid(pid, 0)


@probe('open files and file size')
def open_files_and_file_size():
    for name, most in {'NOFILE': 65536, 'FSIZE': 1 << 40, 'CORE': 0}.items():
        hard = resource.getrlimit(getattr(resource, f'RLIMIT_{name}'))[1]
        if hard == resource.RLIM_INFINITY or hard > most:
            raise Hole(f'the hard limit {name} is {hard}')
    return 'limited for each process; no core dumps'


@probe('storage')
def storage():
    for path, most in GIVEN['storage'].items():
        size = os.statvfs(path)
        if size.f_blocks * size.f_frsize > most:
            raise Hole(f'{path} holds {size.f_blocks * size.f_frsize} bytes, more than {most}')
    return 'sizes of /home/work, /tmp and /dev/shm are bounded'


def run_all():
    results = {}
    for name, function in PROBES.items():
        if name in GIVEN['leaveOut']:
            continue
        try:
            results[name] = {'ok': True, 'detail': function()}
        except Hole as hole:
            results[name] = {'ok': False, 'detail': str(hole)}
        except Exception as problem:
            results[name] = {'ok': False, 'detail': f'could not be tried: {problem!r}'}
    return results


print(json.dumps(run_all()))
