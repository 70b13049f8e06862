"""A real agent, bundled and started without a sandbox, and the server's end of its socket."""

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
FORK = {'start': 'fork', 'module': 'evaluator', 'stdin': 'asks'}
TIMEOUT = 20

_folder = Path(tempfile.mkdtemp(prefix='cob-agent-test-'))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
_bundle = _folder / 'agent.pyz'


def bundle():
    """The path of the agent's bundle, made once."""
    if not _bundle.exists():
        subprocess.run([PYTHON, ROOT / 'agent' / 'bundle.py', _bundle, ROOT / 'langs' / 'python3'], check=True)
    return _bundle


class Connection:
    """The server's end of one connection; keeps what it read in order."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._buffer = bytearray()
        self.acknowledging = True

    def send(self, message):
        payload = json.dumps(message).encode()
        self.socket.sendall((len(payload) + 1).to_bytes(4, 'big') + b'\0' + payload)

    def frame(self, timeout=TIMEOUT):
        """The next frame as (0, message) or (1, bytes); None at the end; TimeoutError."""
        deadline = time.monotonic() + timeout
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], 'big'):
            if not select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f'no message within {timeout} s')
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b''
            if not data:
                return None
            self._buffer += data
        end = 4 + int.from_bytes(self._buffer[:4], 'big')
        kind = self._buffer[4]
        payload = bytes(self._buffer[9 if kind else 5:end])
        del self._buffer[:end]
        return kind, payload if kind else json.loads(payload)

    def receive(self, timeout=TIMEOUT):
        """The next message; None at the end; TimeoutError."""
        frame = self.frame(timeout)
        if frame is None:
            return None
        message = frame[1]
        if self.acknowledging and 'seq' in message:
            self.send({'method': 'ack', 'params': {'seq': message['seq']}})
        return message

    def quiet(self):
        """True if nothing has arrived: asked after an answer that would have come later."""
        return not self._buffer and not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()


class Result:
    """Everything one execution gave."""

    def __init__(self, events):
        self.events = events
        self.reply = events[-1]
        self.status = self.reply.get('status')

    def text(self, name='stdout'):
        return ''.join(event['text'] for event in self.of('stream') if event['name'] == name)

    def of(self, event_type):
        return [event for event in self.events if event['type'] == event_type]

    @property
    def value(self):
        results = self.of('execute_result')
        return results[-1]['data']['text/plain'] if results else None

    @property
    def error(self):
        errors = self.of('error')
        return errors[-1] if errors else None


class AgentCase(unittest.TestCase):
    """Starts an agent for each test, and connects to it."""

    evaluator = FORK
    environ = {}

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=_folder))
        self.socket_path = self.folder / 's'
        (self.folder / 'home').mkdir()
        self._ids = 0
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket_path))
        listener.listen()
        self.process = subprocess.Popen(
            [PYTHON, '-B', bundle(), '--listen-fd', str(listener.fileno()), '--evaluator', json.dumps(self.evaluator),
             '--lang-folder', str(ROOT / 'test' / 'agent')],
            cwd=self.folder / 'home',
            env={'HOME': str(self.folder / 'home'), 'PATH': '/usr/bin:/bin', 'LANG': 'C.UTF-8', **self.environ},
            pass_fds=[listener.fileno()],
        )
        listener.close()
        # Whatever else fails: who waits for the end of this program's output would wait for the agent's.
        self.addCleanup(self._kill)
        self.connection = self.connect()
        self.addCleanup(self._stop)
        self.of_type('status')  # sent or replayed on every first attach

    def _stop(self):
        self.connection.close()
        # Killing the agent leaves its descendants behind: the restart kills them.
        try:
            connection = self.connect()
            self.request('restart', wait=False, connection=connection)
            while connection.receive(5).get('type') not in ('reply', None):
                pass
            connection.close()
        except (OSError, TimeoutError, AttributeError):
            pass

    def _kill(self):
        for pid in self.children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()

    def children(self):
        try:
            return [int(pid) for pid in Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text().split()]
        except OSError:
            return []

    def connect(self, after=0):
        connection = Connection(self.socket_path)
        self.addCleanup(connection.close)
        connection.send({'id': 'attach', 'method': 'attach', 'params': {'protocol': 1, 'after': after}})
        self.attached = connection.receive()
        return connection

    def request(self, method, params=None, wait=True, connection=None):
        """Sends a request; its id, or its reply with `wait`."""
        self._ids += 1
        request_id = f'r{self._ids}'
        connection = connection or self.connection
        connection.send({'id': request_id, 'method': method, 'params': params or {}})
        if not wait:
            return request_id
        return self.until(lambda event: event.get('id') == request_id and event['type'] in ('reply', 'fail'))[-1]

    def until(self, condition, timeout=TIMEOUT):
        """Events up to and including the first for which `condition` holds."""
        events = []
        while True:
            event = self.connection.receive(timeout)
            if event is None:
                raise AssertionError(f'the agent hung up after {events[-3:]}')
            events.append(event)
            if condition(event):
                return events

    def of_type(self, event_type):
        return self.until(lambda event: event['type'] == event_type)

    def start(self, code):
        """Starts an execution; its id."""
        return self.request('execute', {'code': code}, wait=False)

    def finish(self, execution, timeout=TIMEOUT):
        return Result(self.until(lambda event: event['id'] == execution and event['type'] in ('execute_reply', 'fail')
                                 or event.get('state') == 'dead', timeout))

    def run_code(self, code):
        return self.finish(self.start(code))
