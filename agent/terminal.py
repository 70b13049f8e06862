"""A connection that carries a terminal: a shell on a pseudoterminal, bytes both ways."""

import _signal as signal
import fcntl
import os
import struct
import termios

from . import frames, messages, processes
from .poller import READ, WRITE

SHELLS = ('/bin/bash', '/bin/sh')
_DEFAULTS = {'PS1': r'\w\$ ', 'COLORTERM': 'truecolor'}
READ_BYTES = 64 * 1024
# What is typed, or pasted, and the programs have not read yet; what they wrote and the server has not taken yet.
MAX_TYPED_BYTES = 64 * 1024
MAX_WRITTEN_BYTES = 256 * 1024


class Terminal:
    """Serves one connection from its request `message` on. The shell's end is its answer; the connection's end is the shell's."""

    def __init__(self, sock, decoder, message, environ):
        """`sock` does not block; `decoder` may hold what came behind the request. Malformed, FrameError and OSError make nothing."""
        self.socket = sock
        self._decoder = decoder
        self._request_id, _, params = messages.parse_terminal_request(message)
        self._outgoing = bytearray()
        self._typed = bytearray()
        self._status = None
        self._over = False
        self._master, slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            self._resize(params)
            self._pid = os.fork()
            if self._pid == 0:
                _become_shell(slave, environ)
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self._take_frames()

    def fileno(self):
        return self.socket.fileno()

    def want(self, wanted):
        """Adds what to wait for."""
        # With the shell gone there is something to say, even if what it left behind keeps the terminal open.
        says = self._outgoing or (self._status is not None and not self._over)
        wanted[self.fileno()] = (READ if len(self._typed) < MAX_TYPED_BYTES else 0) | (WRITE if says else 0)
        if not self._over:
            mask = (READ if len(self._outgoing) < MAX_WRITTEN_BYTES else 0) | (WRITE if self._typed else 0)
            if mask:
                wanted[self._master] = mask

    def descriptors(self):
        """Those it may wait for; to be forgotten before it is closed."""
        return self.fileno(), self._master

    def move(self, ready):
        """Goes on; False when the connection is over."""
        try:
            if self.fileno() in ready and not self._receive():
                return False
            self._write_typed()
            if self._master in ready:
                self._read()
            self._send()
            return True
        except (frames.FrameError, messages.Malformed, OSError):
            return False

    def bury(self, pid, status):
        """A child has ended with this wait status."""
        if pid == self._pid:
            self._status = status
            self._pid = None

    def close(self):
        """Hangs up: the shell and what runs in its foreground get SIGHUP."""
        os.close(self._master)
        self._hang_up()
        self.socket.close()

    def _receive(self):
        if len(self._typed) >= MAX_TYPED_BYTES:
            return True
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return True
        self._decoder.feed(data)
        self._take_frames()
        return bool(data)

    def _take_frames(self):
        frame = self._decoder.next()
        while frame is not None:
            if frame[0] == frames.KIND_BYTES:
                self._typed += frame[1][1]
            else:
                self._resize(messages.parse_terminal_request(frame[1])[2])
            frame = self._decoder.next()

    def _resize(self, params):
        size = struct.pack('HHHH', min(params['rows'], 0xFFFF), min(params['cols'], 0xFFFF), 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _write_typed(self):
        try:
            while self._typed and not self._over:
                del self._typed[:os.write(self._master, self._typed[:4096])]
        except BlockingIOError:
            pass

    def _read(self):
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b''  # EIO: nobody has the terminal open any more
        if data:
            self._outgoing += frames.encode_bytes(data)
        else:
            self._hang_up()

    def _hang_up(self):
        if self._pid is not None:
            try:
                os.kill(self._pid, signal.SIGHUP)
            except ProcessLookupError:
                pass

    def _send(self):
        if self._status is not None and not self._over:
            self._drain()
        try:
            while self._outgoing:
                del self._outgoing[:self.socket.send(self._outgoing)]
        except BlockingIOError:
            pass

    def _drain(self):
        """What the terminal still holds when its shell has ended, then the answer. What goes on in the background is not waited for."""
        while len(self._outgoing) < MAX_WRITTEN_BYTES:
            try:
                data = os.read(self._master, READ_BYTES)
            except OSError:
                data = b''
            if not data:
                code = os.waitstatus_to_exitcode(self._status)
                self._outgoing += frames.encode({'type': 'reply', 'id': self._request_id, 'result': {'exit': code}})
                self._over = True
                return
            self._outgoing += frames.encode_bytes(data)


def _become_shell(slave, environ):
    """Runs in the forked child and never returns."""
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        processes.soften(2, goes_on_as_python=False)
        shell = next(path for path in SHELLS if os.path.exists(path))
        os.execve(shell, [shell], {**_DEFAULTS, **os.environ, **environ, 'TERM': 'xterm-256color', 'SHELL': shell})
    except BaseException as problem:  # nothing may unwind into the agent's loop
        os.write(2, f'terminal: {problem}\n'.encode('utf-8', 'replace'))
    finally:
        os._exit(70)  # EX_SOFTWARE
