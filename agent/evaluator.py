"""One life of the evaluator: a process, its channel and its two output pipes."""

import _signal as signal
import _socket
import fcntl
import gc
import os
import sys

from . import frames, processes
from .channel import Channel
from .output import Output
from .stdin import Stdin

CHANNEL_FD = 3


def start(spec, lang_folder):
    """Starts the evaluator that `spec` (the manifest's `evaluator`) tells of."""
    ours, theirs = _socket.socketpair()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    stdin = Stdin() if spec.get('stdin') == 'asks' else None
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _become_evaluator(spec, lang_folder, theirs, stdin, out_write, err_write)
    theirs.close()
    os.close(out_write)
    os.close(err_write)
    return Evaluator(pid, ours, (Output('stdout', out_read), Output('stderr', err_read)), stdin)


class Evaluator:
    """The agent's ends of what leads to process `pid`."""

    def __init__(self, pid, sock, outputs, stdin=None):
        sock.setblocking(False)
        self.pid = pid
        self.outputs = outputs
        self.stdin = stdin
        self.broken = False
        self._socket = sock
        self._decoder = frames.FrameDecoder()
        self._outgoing = bytearray()

    def fileno(self):
        return self._socket.fileno()

    @property
    def sending(self):
        """True while bytes wait for the evaluator to read."""
        return len(self._outgoing) > 0

    def send(self, method, request_id, params):
        # Bounded by what the server asks for: one execution and one answer to it at a time.
        self._outgoing += frames.encode({'id': request_id, 'method': method, 'params': params})
        self.flush()

    def flush(self):
        try:
            while self._outgoing:
                del self._outgoing[:self._socket.send(self._outgoing)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._outgoing.clear()  # it is dying; its end is noticed elsewhere

    def receive(self):
        """Takes in what arrived, True if anything did; the channel's end makes the evaluator broken."""
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b''
        if not data:
            self.broken = True
            return False
        self._decoder.feed(data)
        # All of it was written before the messages that came, each of which must come after what was written before it.
        for output in self.outputs:
            output.owe()
        return True

    def next_message(self):
        """The next message taken in, None when there is none; FrameError on a violation."""
        frame = self._decoder.next()
        while frame is not None and frame[0] != frames.KIND_JSON:
            frame = self._decoder.next()
        return None if frame is None else frame[1]

    def interrupt(self):
        # The whole group, as a terminal does: system() ignores SIGINT while it waits for its child.
        self._signal(os.killpg, signal.SIGINT)

    def kill(self):
        self._signal(os.kill, signal.SIGKILL)

    def _signal(self, send, number):
        try:
            send(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self):
        self._socket.close()
        for output in self.outputs:
            output.close()
        if self.stdin:
            self.stdin.close()


def _become_evaluator(spec, lang_folder, sock, stdin, out_write, err_write):
    """Runs in the forked child and never returns."""
    code = 70  # EX_SOFTWARE
    try:
        os.setsid()
        _arrange_descriptors(sock, stdin, out_write, err_write, inheritable=spec['start'] == 'exec')
        processes.soften(CHANNEL_FD, goes_on_as_python=spec['start'] == 'fork')
        if spec['start'] == 'exec':
            argv = [word.replace('{lang}', lang_folder) for word in spec['argv']]
            os.execv(argv[0], argv)
        module = sys.modules[f'cob_lang.{spec["module"]}']
        module.main(Channel(_socket.socket(fileno=CHANNEL_FD)), {**spec, 'folder': lang_folder})
        code = 0
    except BaseException as problem:  # nothing may unwind into the agent's loop
        os.write(2, f'evaluator: {type(problem).__name__}: {problem}\n'.encode('utf-8', 'replace'))
    finally:
        os._exit(code)


def _arrange_descriptors(sock, stdin, out_write, err_write, inheritable):
    reader = stdin.reader if stdin else os.open('/dev/null', os.O_RDONLY)
    # Copies above the target numbers first, so that no dup2 overwrites one that is still needed.
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in (reader, out_write, err_write, sock.detach())]
    for target, fd in enumerate(copies):
        os.dup2(fd, target, inheritable or target < CHANNEL_FD)
