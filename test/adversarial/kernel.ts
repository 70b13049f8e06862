import { type Attack, ends, python } from './attack.ts'

/** Numbers of system calls by machine (Linux: unistd.h). */
const NUMBERS = `
import platform
_x, _a = 'x86_64', 'aarch64'
N = {name: numbers[platform.machine() == _a] for name, numbers in {
    'ptrace': (101, 117), 'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'add_key': (248, 217), 'request_key': (249, 218),
    'keyctl': (250, 219), 'unshare': (272, 97), 'perf_event_open': (298, 241), 'name_to_handle_at': (303, 264), 'open_by_handle_at': (304, 265),
    'setns': (308, 268), 'process_vm_readv': (310, 270), 'kcmp': (312, 272), 'bpf': (321, 280), 'userfaultfd': (323, 282), 'clone': (56, 220),
    'io_uring_setup': (425, 425), 'pidfd_open': (434, 434), 'pidfd_getfd': (438, 438), 'clone3': (435, 435), 'fsopen': (430, 430),
    'kexec_load': (246, 104), 'init_module': (175, 105), 'finit_module': (313, 273), 'swapon': (167, 224), 'reboot': (169, 142),
    'settimeofday': (164, 170), 'clock_settime': (227, 112), 'sethostname': (170, 161), 'setdomainname': (171, 162), 'acct': (163, 89),
    'io_setup': (206, 0), 'syslog': (103, 116), 'quotactl': (179, 60), 'iopl': (172, 9999), 'fanotify_init': (300, 262), 'memfd_secret': (447, 447),
}.items()}
`
const kernel = (name: string, layers: Attack['layers'], code: string): Attack =>
  python(name, layers, NUMBERS + code)

/** Reaching the kernel's own doors. */
export const KERNEL: readonly Attack[] = [
  kernel(
    'make a user namespace and be root in it',
    ['seccomp', 'no-user-namespaces'],
    `
def child(flag):
    pid = os.fork()
    if pid == 0: os._exit(0 if libc.unshare(flag) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if child(0x10000000) == 0: hole('unshare(CLONE_NEWUSER)')
result = libc.syscall(ctypes.c_long(N['clone']), ctypes.c_ulong(0x10000000 | 17), 0, 0, 0, 0)
if result == 0: os._exit(0)
if result > 0: os.waitpid(result, 0); hole('clone(CLONE_NEWUSER)')
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
result = libc.syscall(ctypes.c_long(N['clone3']), ctypes.byref(args), ctypes.c_size_t(88))
if result == 0: os._exit(0)
if result > 0: os.waitpid(result, 0); hole('clone3(CLONE_NEWUSER)')`,
  ),
  kernel(
    'other namespaces',
    [],
    `
for name, flag in {'NS': 0x20000, 'CGROUP': 0x2000000, 'UTS': 0x4000000, 'IPC': 0x8000000, 'PID': 0x20000000, 'NET': 0x40000000, 'TIME': 0x80}.items():
    attempt('unshare ' + name, lambda: call(N['unshare'], flag))
for name in os.listdir('/proc/1/ns') if os.access('/proc/1/ns', os.R_OK) else []:
    attempt('setns ' + name, lambda: call(N['setns'], os.open('/proc/self/ns/' + name, os.O_RDONLY), 0))`,
  ),
  kernel(
    'mount, pivot_root, fsopen',
    [],
    `
attempt('tmpfs', lambda: call(N['mount'], b'none', b'/tmp', b'tmpfs', 0, 0))
attempt('proc', lambda: call(N['mount'], b'proc', b'/tmp', b'proc', 0, 0))
attempt('bind', lambda: call(N['mount'], b'/', b'/tmp', 0, 4096, 0))
attempt('remount', lambda: call(N['mount'], b'none', b'/usr', 0, 32, 0))
attempt('umount', lambda: call(N['umount2'], b'/proc/sys', 2))
attempt('pivot_root', lambda: call(N['pivot_root'], b'/tmp', b'/tmp'))
attempt('fsopen', lambda: call(N['fsopen'], b'tmpfs', 0))`,
  ),
  python(
    'read the memory of the agent',
    ['undumpable-agent'],
    `
for name in ('mem', 'maps', 'environ', 'fd', 'root', 'stack', 'auxv'):
    path = f'/proc/1/{name}'
    attempt(path, lambda: os.listdir(path) if name in ('fd', 'root') else open(path, 'rb').read(16))`,
  ),
  kernel(
    'ptrace another process of the session',
    ['seccomp'],
    `
import subprocess, time
child = subprocess.Popen(['sleep', '10'])
for pid in (1, child.pid):
    attempt(f'attach {pid}', lambda: call(N['ptrace'], 16, pid, 0, 0))
    attempt(f'seize {pid}', lambda: call(N['ptrace'], 0x4206, pid, 0, 0))
attempt('process_vm_readv', lambda: call(N['process_vm_readv'], child.pid, 0, 0, 0, 0, 0))
attempt('pidfd_getfd', lambda: call(N['pidfd_getfd'], call(N['pidfd_open'], child.pid, 0), 1, 0))
attempt('kcmp', lambda: call(N['kcmp'], os.getpid(), child.pid, 0, 1, 1))
child.kill(); child.wait()`,
  ),
  kernel(
    'keyrings',
    ['seccomp'],
    `
attempt('add_key', lambda: call(N['add_key'], b'user', b'cob', b'secret', 6, -3 & (1 << 64) - 1))
attempt('keyctl', lambda: call(N['keyctl'], 0, -4 & (1 << 64) - 1, 1))
attempt('request_key', lambda: call(N['request_key'], b'user', b'cob', 0, 0))`,
  ),
  kernel(
    'io_uring',
    ['seccomp'],
    `
attempt('io_uring_setup', lambda: call(N['io_uring_setup'], 4, ctypes.create_string_buffer(120)))`,
  ),
  kernel(
    'userfaultfd',
    ['seccomp'],
    `
attempt('userfaultfd', lambda: call(N['userfaultfd'], 1))`,
  ),
  kernel(
    'bpf, perf, modules, kexec, file handles and other calls of root',
    [],
    `
for name in ('bpf', 'perf_event_open', 'init_module', 'finit_module', 'kexec_load', 'swapon', 'acct', 'quotactl', 'iopl', 'fanotify_init', 'open_by_handle_at'):
    attempt(name, lambda: call(N[name], 0, 0, 0, 0, 0, 0))
attempt('reboot', lambda: call(N['reboot'], 0xfee1dead, 672274793, 0))  # only turns Ctrl-Alt-Del off
attempt('syslog', lambda: call(N['syslog'], 3, ctypes.create_string_buffer(99), 99))`,
  ),
  kernel(
    'take what the machine has only one pool of: AIO requests, huge pages',
    ['seccomp'],
    `
attempt('io_setup', lambda: call(N['io_setup'], 100, ctypes.byref(ctypes.c_ulong())))
libc.mmap.restype = ctypes.c_void_p
for size in (0, 21 << 26, 30 << 26):
    # ENOMEM: this machine happens to keep none. EPERM: nobody gets any.
    libc.mmap(None, 1 << 21, 3, 0x40022 | size, -1, 0)
    if ctypes.get_errno() != errno.EPERM: hole(f'huge pages: {errno.errorcode.get(ctypes.get_errno())}')
    attempt('memfd', lambda: os.memfd_create('x', 4 | size))
ctypes.set_errno(0)
libc.syncfs(os.open('/usr/bin/env', os.O_RDONLY))
if ctypes.get_errno() != errno.EPERM: hole("write out the host's disks")`,
  ),
  python(
    'sockets of other families',
    ['seccomp'],
    `
for family in range(0, 64):
    if family in (1, 2, 10): continue
    for kind in (1, 2, 3, 5):
        attempt(f'family {family}', lambda: socket.socket(family, kind, 0).close())`,
  ),
  python(
    'raw sockets and other protocols',
    ['seccomp', 'no-capabilities'],
    `
for family in (2, 10):
    for kind, protocol in ((3, 1), (3, 255), (1, 132), (5, 132), (6, 33), (1, 262), (2, 136)):
        attempt(f'{family} {kind} {protocol}', lambda: socket.socket(family, kind, protocol).close())`,
  ),
  python(
    'the 32-bit interface of the kernel',
    ['seccomp'],
    `
import mmap, platform
if platform.machine() == 'x86_64':
    # getpid of i386 is call 20: mov eax, 20; int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = code()
    if result == os.getpid(): hole('int 0x80 works')
    refusals.append(errno.errorcode.get(-result, str(result)))
    attempt('x32', lambda: call(0x40000000 + 39))`,
  ),
  python(
    'sysctl, sysrq and core_pattern',
    [],
    `
for path in ('kernel/core_pattern', 'kernel/modprobe', 'kernel/hostname', 'vm/drop_caches', 'vm/overcommit_memory', 'fs/file-max', 'net/ipv4/ip_forward', 'user/max_user_namespaces', 'kernel/ns_last_pid'):
    attempt(path, lambda: spill('/proc/sys/' + path))
for path in ('/proc/sysrq-trigger', '/proc/irq/default_smp_affinity', '/proc/bus/pci', '/proc/kcore', '/proc/kmsg', '/proc/acpi/wakeup'):
    attempt(path, lambda: open(path, 'r+b').close())
for path in glob.glob('/proc/1/oom*') + ['/proc/1/coredump_filter', '/proc/1/timerslack_ns']:
    attempt(path, lambda: spill(path))`,
  ),
  kernel(
    'set the clock and the host name',
    [],
    `
import time
attempt('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
attempt('settimeofday', lambda: call(N['settimeofday'], ctypes.create_string_buffer(16), 0))
attempt('hostname', lambda: socket.sethostname('x'))
attempt('domain', lambda: call(N['setdomainname'], b'x', 1))`,
  ),
  python(
    'see the name of the host',
    ['uts-namespace'],
    ({ bait }) => `
if socket.gethostname() != 'cob' or os.uname().nodename != 'cob': hole(socket.gethostname()) # ${bait.canary}`,
  ),
  python(
    'see its own place among the cgroups',
    ['cgroup-namespace'],
    `
for line in open('/proc/self/cgroup'):
    if 'cob-' in line and '/..' not in line: hole(line.strip())`,
  ),
  python(
    'see processes of the host',
    ['pid-namespace'],
    `
pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
if len(pids) > 4: hole(f'{len(pids)} processes')`,
  ),
  python(
    "read the host's shared memory",
    ['ipc-namespace'],
    ({ bait }) => `
libc.shmat.restype = ctypes.c_void_p
if libc.shmat(${bait.sharedMemory}, None, 0o10000) not in (None, 2 ** 64 - 1): hole('shmat')
if len(open('/proc/sysvipc/shm').readlines()) > 1: hole('segments are listed')`,
  ),
  python(
    'have capabilities',
    ['no-capabilities', 'own-uid'],
    `
for line in open('/proc/self/status'):
    if line.startswith(('CapPrm', 'CapEff', 'CapBnd', 'CapAmb')) and int(line.split()[1], 16): hole(line.strip())`,
  ),
  python(
    'gain by set-uid programs',
    [],
    `
import subprocess
for root, folders, files in os.walk('/usr'):
    for name in files:
        path = os.path.join(root, name)
        try: mode = os.lstat(path).st_mode
        except OSError: continue
        if mode & 0o6000 and mode & 0o170000 == 0o100000:
            if not os.access(path, os.X_OK): continue
            program = subprocess.Popen([path, '--help'], stdin=-3, stdout=-3, stderr=-3)
            status = open(f'/proc/{program.pid}/status').read()
            program.kill(); program.wait()
            if 'Uid:\\t1000\\t1000\\t1000\\t1000\\n' not in status: hole(path)
os.makedirs('/tmp/s', exist_ok=True)
import shutil
shutil.copy('/usr/bin/id', '/tmp/s/id'); os.chmod('/tmp/s/id', 0o6755)
if subprocess.run(['/tmp/s/id', '-u'], capture_output=True, text=True).stdout != '1000\\n': hole('set-uid of its own')
for uid in (0, 1, 65534, 200001):
    attempt(f'setuid {uid}', lambda: os.setuid(uid))
    attempt(f'setgid {uid}', lambda: os.setgid(uid))
attempt('setgroups', lambda: os.setgroups([0]))
`,
    // There are many files to look at.
    { timeout: 120_000 },
  ),
  python(
    'raise its own limits and priority',
    [],
    `
import resource
for name in ('NOFILE', 'FSIZE', 'CORE'):
    hard = resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[1]
    try: resource.setrlimit(getattr(resource, 'RLIMIT_' + name), (hard + 1, hard + 1)); hole(name)
    except (ValueError, OSError) as problem: refusals.append(type(problem).__name__)
attempt('nice', lambda: os.nice(-10))
attempt('realtime', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt('oom_score_adj of another', lambda: spill('/proc/1/oom_score_adj', b'-1000'))
attempt('own oom_score_adj', lambda: spill('/proc/self/oom_score_adj', b'-1000'))`,
  ),
  ends(
    'die by an instruction the kernel does not like',
    [],
    ['crashed'],
    `
import mmap
page = mmap.mmap(-1, 4096, prot=7); page.write(b'\\x0f\\x0b' * 8 + b'\\x00' * 64)
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()`,
  ),
]
