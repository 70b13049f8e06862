import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../support/server.ts'

/** What code that means no harm does must work inside: the system call filter and the limits must not be in its way. */

let server: TestServer
let id: string
before(async () => {
  server = await startServer()
  id = await server.create()
})
after(() => server.close())

const PROGRAMS: Readonly<Record<string, string>> = {
  'numpy, with BLAS threads': `
import numpy as np
a = np.random.default_rng(1).random((400, 400))
assert np.allclose(a @ np.linalg.inv(a), np.eye(400), atol=1e-6)
assert np.memmap('/tmp/map', dtype='u1', mode='w+', shape=1000).sum() == 0`,
  pandas: `
import io, pandas as pd
frame = pd.read_csv(io.StringIO('a,b\\n1,2\\n3,4'))
frame.to_pickle('/home/work/frame.pkl')
assert pd.read_pickle('/home/work/frame.pkl').sum().tolist() == [4, 6]`,
  matplotlib: `
import matplotlib.pyplot as plt
plt.plot([1, 3, 2]); plt.savefig('/home/work/plot.png'); plt.close()
assert open('/home/work/plot.png', 'rb').read(4) == b'\\x89PNG'`,
  threads: `
import threading
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    assert sum(pool.map(lambda n: n * n, range(100))) == 328350
assert threading.active_count() == 1`,
  'multiprocessing, forked and spawned': `
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor
for method in ('fork', 'spawn', 'forkserver'):
    with ProcessPoolExecutor(2, mp_context=mp.get_context(method)) as pool:
        assert list(pool.map(abs, [-1, -2, 3])) == [1, 2, 3], method
from multiprocessing import shared_memory, Queue, Lock
block = shared_memory.SharedMemory(create=True, size=1 << 20)
block.buf[0] = 7; block.close(); block.unlink()
q = Queue(); q.put('through a pipe'); assert q.get() == 'through a pipe'`,
  'asyncio, with subprocesses and local sockets': `
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    out, _ = await process.communicate(b'through cat')
    assert out == b'through cat'
    async def echo(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    for kind in ('tcp', 'unix'):
        server = await (asyncio.start_server(echo, '127.0.0.1', 0) if kind == 'tcp' else asyncio.start_unix_server(echo, '/tmp/s'))
        address = server.sockets[0].getsockname()
        reader, writer = await (asyncio.open_connection(*address) if kind == 'tcp' else asyncio.open_unix_connection('/tmp/s'))
        writer.write(b'hello\\n'); assert await reader.readline() == b'hello\\n'
        writer.close(); server.close()
await main()`,
  'subprocess, pipelines of the shell, signals and pseudo-terminals': `
import os, pty, signal, subprocess
assert subprocess.run('seq 1000 | sort -n | tail -1', shell=True, capture_output=True, text=True).stdout == '1000\\n'
child = subprocess.Popen(['sleep', '100']); child.terminate(); assert child.wait() == -signal.SIGTERM
a, b = pty.openpty(); os.write(b, b'x'); assert os.read(a, 1) == b'x'`,
  sqlite: `
import sqlite3
db = sqlite3.connect('/home/work/test.db'); db.execute('pragma journal_mode=wal')
db.execute('create table t (n)'); db.executemany('insert into t values (?)', [(n,) for n in range(100)]); db.commit()
assert db.execute('select sum(n) from t').fetchone() == (4950,)`,
  'temporary files, links, locks, mmap and file watching': `
import fcntl, mmap, os, shutil, tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'a'); open(path, 'w').write('text')
    os.symlink(path, path + '.link'); os.link(path, path + '.hard'); os.mkfifo(path + '.fifo')
    with open(path, 'r+b') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with mmap.mmap(file.fileno(), 0) as map: assert map[:] == b'text'
    shutil.copy(path, path + '.copy'); os.replace(path + '.copy', path + '.moved')
    assert sorted(os.listdir(folder)) == ['a', 'a.fifo', 'a.hard', 'a.link', 'a.moved']
with tempfile.TemporaryFile() as file: file.write(b'x'); os.fsync(file.fileno())
fd = os.memfd_create('m'); os.write(fd, b'x'); os.close(fd)`,
  'pip install --user of a local wheel': `
import base64, hashlib, subprocess, sys, zipfile
files = {
    'greeting.py': 'def greet(): return "hello from a wheel"',
    'greeting-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n',
    'greeting-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
}
digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()
record = ''.join(f'{name},sha256={digest(text)},{len(text)}\\n' for name, text in files.items())
with zipfile.ZipFile('/tmp/greeting-1.0-py3-none-any.whl', 'w') as wheel:
    for name, text in {**files, 'greeting-1.0.dist-info/RECORD': record + 'greeting-1.0.dist-info/RECORD,,\\n'}.items():
        wheel.writestr(name, text)
command = [sys.executable or '/usr/bin/python3', '-m', 'pip', 'install', '--user', '--no-index', '/tmp/greeting-1.0-py3-none-any.whl']
done = subprocess.run(command, capture_output=True, text=True)
assert done.returncode == 0, done.stderr + done.stdout`,
  'what was installed can be imported': `
import greeting
assert greeting.greet() == 'hello from a wheel'`,
  'compression, hashing, time zones, locale, processes of its own': `
import bz2, getpass, hashlib, locale, lzma, os, platform, pwd, socket, time, uuid, zlib, zoneinfo
assert lzma.decompress(lzma.compress(bz2.decompress(bz2.compress(zlib.decompress(zlib.compress(b'x')))))) == b'x'
assert zoneinfo.ZoneInfo('Europe/Berlin') and hashlib.scrypt(b'a', salt=b'b', n=2, r=1, p=1)
assert pwd.getpwuid(os.getuid()).pw_name == getpass.getuser() == 'work' and socket.gethostname() == 'cob'
assert socket.getaddrinfo('localhost', 80) and platform.platform() and uuid.uuid4() and os.cpu_count()
locale.setlocale(locale.LC_ALL, ''); os.nice(1); os.sched_getaffinity(0); os.sched_setaffinity(0, os.sched_getaffinity(0))`,
}

for (const [name, code] of Object.entries(PROGRAMS)) {
  test(`${name} work inside`, async () => {
    const { status, exceptions, stderr } = await server.run(id, code)
    assert.deepEqual([status, exceptions], ['finished', []], stderr)
  })
}
