import { type Attack, ends, type Outcome, python, type Target } from './attack.ts'

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
    // Enough that it is not the limit on memory that holds it.
    { timeout: 3000, maxMem: 262_144 },
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
  python(
    'every pseudoterminal there is, hidden by closing one end',
    ['resource-limits'],
    `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
try:
    for n in range(3000):
        master, slave = os.openpty()
        os.close(master)
        kept.append(slave)
except OSError as problem: refusals.append(errno.errorcode[problem.errno])
if len(kept) > 64: hole(f'{len(kept)} pseudoterminals')
for fd in kept: os.close(fd)`,
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
