import { type Attack, ends, type Outcome, python, type Target } from './attack.ts'

const MEMORY_KB = 131_072
/** A bomb stops by itself here, so that one whose limit is left out does not take the machine along. */
const STOP_BYTES = 1_200 * 1024 * 1024

/** Code that takes memory in steps with `take(bytes)` until far beyond the session's limit. */
function memoryBomb(name: string, take: string, layers: Attack['layers'] = ['memory-limit']): Attack {
  const code = `${take}
taken = 0
while taken < ${STOP_BYTES}:
    take(8 << 20)
    taken += 8 << 20
    if taken > ${2 * MEMORY_KB} << 10: print('HOLE took', taken >> 20, 'MiB', flush=True)`
  return ends(name, layers, ['out-of-memory', 'MemoryError', 'OSError'], code, {
    maxMem: MEMORY_KB,
  })
}

/** Ends the session when its time is over, whatever the code does against it. */
const outlasts = (name: string, code: string): Attack =>
  ends(name, [], ['query-timeout'], code, { timeout: 1000 })

const SPIN = `
import os
for n in range(24):
    if os.fork() == 0:
        os.setsid()
        while True: pass
def spent():
    stats = [open(f'/proc/{pid}/stat').read().split() for pid in os.listdir('/proc') if pid.isdigit() and pid != '1']
    return sum(int(fields[13]) + int(fields[14]) for fields in stats) / 100`
const SPIN_ONE = `
import time
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 1.5: pass
time.process_time() - cpu`

/** The CPU time a neighbour's one busy process gets, against what 24 processes of the attacker get together. */
async function measureShare({ api, kernel, neighbour }: Target): Promise<Outcome> {
  const seconds = async (id: string, code: string): Promise<number> =>
    Number((await api.run(id, code)).value?.['text/plain'])
  await api.run(kernel, SPIN)
  const before = await seconds(kernel, 'spent()')
  const own = await seconds(neighbour, SPIN_ONE)
  const others = (await seconds(kernel, 'spent()')) - before
  return {
    safe: own / others > 0.2,
    outcome: `${own.toFixed(2)} s of CPU to the neighbour, ${others.toFixed(2)} s to them`,
  }
}

/** Using up what others need too. */
export const RESOURCES: readonly Attack[] = [
  memoryBomb('10 GB of heap', 'kept = []\ndef take(n): kept.append(b"x" * n)'),
  memoryBomb(
    '10 GB of heap in a child process',
    `
kept = []
pid = os.fork()
if pid:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -9: raise MemoryError('the child was killed')
    os._exit(0)
def take(n): kept.append(b"x" * n)`,
  ),
  memoryBomb(
    '10 GB in /dev/shm, /tmp and /home/work',
    `
number = 0
def take(n):
    global number
    for folder in ('/dev/shm', '/tmp', '/home/work'):
        number += 1
        with open(f'{folder}/{number}', 'wb') as file: file.write(b'x' * (n // 3))`,
  ),
  memoryBomb(
    '10 GB of memfd',
    `
fds = []
def take(n):
    fd = os.memfd_create('m'); fds.append(fd); os.write(fd, b'x' * n)`,
  ),
  memoryBomb(
    '10 GB of System V shared memory',
    `
libc.shmat.restype = ctypes.c_void_p
def take(n):
    segment = libc.shmget(0, ctypes.c_size_t(n), 0o1600)
    if segment < 0: raise OSError(ctypes.get_errno(), 'shmget')
    address = libc.shmat(segment, None, 0)
    ctypes.memset(address, 1, n); libc.shmdt(ctypes.c_void_p(address))`,
  ),
  memoryBomb(
    '10 GB of shared and locked mappings',
    `
import mmap
kept = []
def take(n):
    block = mmap.mmap(-1, n); kept.append(block); block.write(b'x' * n)
    libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(block)), n)`,
  ),
  memoryBomb(
    '10 GB of pipe and socket buffers',
    `
import fcntl
kept = []
def take(n):
    filled = 0
    while filled < n:
        a, b = os.pipe(); kept.append((a, b)); os.set_blocking(b, False)
        for size in (1 << 20, 1 << 16):
            try: fcntl.fcntl(b, 1031, size); break
            except OSError: pass
        try:
            while True: filled += os.write(b, b'x' * 65536)
        except BlockingIOError: pass`,
    [],
  ),
  ends(
    'gigabytes of TCP buffers',
    [],
    ['out-of-memory'],
    `
import resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept, sent = [], 0
listening = socket.create_server(('127.0.0.1', 0), backlog=4000)
for n in range(1900):
    kept += [socket.create_connection(listening.getsockname()), listening.accept()[0]]
    for end in kept[-2:]:
        end.setblocking(False)
        try:
            while True: sent += end.send(b'x' * 65536)
        except BlockingIOError: pass
time.sleep(8)
print('HOLE', sent >> 20, 'MiB are held')`,
    { maxMem: 65_536, timeout: 30_000 },
  ),
  ends(
    'locks on files without end',
    [],
    ['crashed'],
    `
import fcntl, struct, time
end, fds, held = time.time() + 10, [], 0
while time.time() < end:
    fds.append(os.open(f'/tmp/{len(fds)}', os.O_RDWR | os.O_CREAT))
    for at in range(4000, 0, -1):
        fcntl.fcntl(fds[-1], fcntl.F_SETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, at * 2, 1, 0)); held += 1
print('HOLE', held, 'locks')`,
    { timeout: 30_000 },
  ),
  ends(
    'a million files',
    [],
    ['out-of-memory', 'OSError', 'MemoryError'],
    `
for n in range(1_000_000):
    os.close(os.open(f'/tmp/{n}', os.O_CREAT))
print('HOLE a million files')`,
    { maxMem: 65_536 },
  ),
  ends(
    'a million folders within each other',
    [],
    ['out-of-memory', 'OSError', 'MemoryError'],
    `
for n in range(1_000_000):
    os.mkdir('d'); os.chdir('d')
print('HOLE a million folders')`,
    { maxMem: 65_536 },
  ),
  ends(
    'fill /tmp',
    ['storage-size'],
    ['OSError'],
    `
with open('/tmp/big', 'wb') as file:
    for n in range(40): file.write(b'x' * (10 << 20))
print('HOLE 400 MiB')`,
    { maxMem: 1_048_576 },
  ),
  python(
    'a sparse file of 1 TB',
    ['resource-limits'],
    `
for path in ('/tmp/sparse', '/home/work/sparse', '/dev/shm/sparse'):
    with open(path, 'wb') as file: attempt(path, lambda: file.truncate(1 << 40))
fd = os.memfd_create('m')
attempt('memfd', lambda: os.ftruncate(fd, 1 << 40))`,
  ),
  ends(
    'a fork bomb',
    ['processes-limit'],
    ['query-timeout', 'crashed', 'finished', 'BlockingIOError'],
    `
import time
started = 0
while started < 400:
    try: pid = os.fork()
    except OSError: break
    if pid == 0: time.sleep(100)
    started += 1
if started > 200: print('HOLE', started, 'processes', flush=True)
while True:
    try: os.fork()
    except OSError: pass
    if time.process_time() > 0.3: os._exit(1)`,
    { timeout: 3000 },
  ),
  ends(
    'a bomb of threads',
    ['processes-limit'],
    ['finished', 'RuntimeError'],
    `
import threading, time
threads = []
stop = threading.Event()
try:
    for n in range(600): threads.append(threading.Thread(target=stop.wait)); threads[-1].start()
except RuntimeError: pass
if len(threads) > 200: print('HOLE', len(threads), 'threads', flush=True)
stop.set()`,
  ),
  python(
    '100,000 descriptors',
    ['resource-limits'],
    `
fds = []
try:
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for n in range(100_000): fds.append(os.open('/dev/null', os.O_RDONLY))
except OSError as problem: refusals.append(errno.errorcode[problem.errno])
if len(fds) > 4096: hole(f'{len(fds)} descriptors')
for fd in fds: os.close(fd)`,
  ),
  { name: '24 spinning processes', layers: ['cpu-limit'], run: measureShare },
  outlasts(
    'a loop that ignores SIGINT and SIGTERM',
    `
import signal
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass`,
  ),
  outlasts('a loop in C that never comes back', 'sum(range(10 ** 12))'),
  outlasts(
    'a process that blocks for ever, with its signals blocked',
    `
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: time.sleep(1000)`,
  ),
  outlasts(
    'endless output in lines',
    `
while True: print('x' * 79)`,
  ),
  outlasts(
    'endless output without a line',
    `
while True: os.write(1, b'x' * 65536)`,
  ),
  outlasts(
    'endless bytes that are no text, on stderr',
    `
while True: os.write(2, bytes(range(256)) * 256)`,
  ),
  outlasts(
    'endless big displays',
    `
import builtins
class Big:
    def _repr_html_(self): return '<b>' + 'x' * 3_000_000
while True: display(Big())`,
  ),
  outlasts(
    'endless output of a hundred processes',
    `
for n in range(100):
    try:
        if os.fork() == 0:
            while True: os.write(1, b'y' * 4096)
    except OSError: break
while True: pass`,
  ),
  ends(
    'CPU credit used up in child processes',
    [],
    ['cpu-credit-exhausted'],
    `
for n in range(8):
    if os.fork() == 0:
        while True: pass
while True: pass`,
    { maxCpuCredit: 500 },
  ),
  ends(
    'recursion without end',
    [],
    ['crashed', 'RecursionError'],
    `
sys.setrecursionlimit(10 ** 9)
def f(): return [f()]
class A:
    def __repr__(self): return repr(self)
ctypes.CFUNCTYPE(None)(0)()`,
  ),
  ends(
    'an exception of 50 MB',
    [],
    ['Exception'],
    `
raise Exception('x' * 50_000_000)`,
    { maxMem: 524_288 },
  ),
  python(
    'inotify watches, timers, locks, semaphores and message queues',
    [],
    `
import fcntl, select
fds = []
try:
    for n in range(2000): fds.append(libc.inotify_init())
    for n in range(3000): fds.append(libc.epoll_create1(0))
except OSError as problem: refusals.append(errno.errorcode[problem.errno])
if sum(fd >= 0 for fd in fds) > 4096: hole('descriptors')
queues = sum(libc.msgget(0, 0o1600) >= 0 for n in range(40_000))
semaphores = sum(libc.semget(0, 250, 0o1600) >= 0 for n in range(200))
refusals.append(f'{queues} queues and {semaphores} semaphore sets, in memory of its own')`,
  ),
]
