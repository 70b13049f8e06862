import { type Attack, ends } from './attack.ts'

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

/** Taking more memory than a session may have, in whatever form the kernel gives it. */
export const MEMORY: readonly Attack[] = [
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
]
