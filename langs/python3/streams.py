"""sys.stdout and sys.stderr: every write goes out at once, so it keeps its place among C code and child processes."""

import ctypes
import io
import select
import sys


class _Unbuffered(io.FileIO):
    """Writes all of what it is given: a plain FileIO stops early when a signal handler runs."""

    def write(self, data):
        written = super().write(data)
        if written == len(data):
            return written
        view = memoryview(data).cast('B')
        written = written or 0
        while written < len(view):
            # Nothing was written: a child process made the pipe, which it shares, non-blocking.
            select.select((), (self,), ())
            written += super().write(view[written:]) or 0
        return written


def _open(fd, name):
    raw = _Unbuffered(fd, 'w', closefd=False)
    raw.name = f'<{name}>'
    stream = io.TextIOWrapper(raw, 'utf-8', 'backslashreplace', newline='\n', write_through=True)
    stream.mode = 'w'
    return stream


class Streams:
    """Puts the streams in place, and back where user code replaced or closed them."""

    def __init__(self):
        self._streams = {}

    def restore(self):
        for fd, name in ((1, 'stdout'), (2, 'stderr')):
            stream = self._streams.get(name)
            if stream is None or stream.closed:
                stream = self._streams[name] = _open(fd, name)
            setattr(sys, name, stream)
            setattr(sys, f'__{name}__', stream)

    def flush(self):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # closed, or not a stream at all; it will be put back
        _libc.fflush(None)


_libc = ctypes.CDLL(None)


def unbuffer_libc():
    """printf() of C code goes out at once, too."""
    stdout = ctypes.c_void_p.in_dll(_libc, 'stdout')
    _libc.setvbuf(stdout, None, 2, ctypes.c_size_t(0))  # 2: _IONBF
