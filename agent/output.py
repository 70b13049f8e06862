"""One output pipe of an evaluator: bytes in, text out."""

import codecs
import fcntl
import os
import termios
import time

CHUNK_BYTES = 64 * 1024
# A writer of many small pieces is read this often at most: fewer and larger events, fewer wake-ups.
PACE_SECONDS = 0.002
SMALL_BYTES = 16 * 1024

_decoder = codecs.getincrementaldecoder('utf-8')


class Output:
    """The reading end of stdout's or stderr's pipe."""

    def __init__(self, name, fd):
        os.set_blocking(fd, False)
        self.name = name
        self.fd = fd
        self.ended = False
        self.owed = 0
        self.rest_until = 0.0
        self._decoder = _decoder('replace')
        self._decodes = False

    def owe(self):
        """Notes what is in the pipe now: it was written before whatever the evaluator said last."""
        count = bytearray(4)
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        self.owed = int.from_bytes(count, 'little')

    def read(self):
        """Text of one chunk, '' when there is none now."""
        try:
            data = os.read(self.fd, CHUNK_BYTES)
        except BlockingIOError:
            self.owed = 0
            return ''
        if not data:
            self.ended = True
            self.owed = 0
            return ''
        self.owed = max(0, self.owed - len(data))
        if len(data) < SMALL_BYTES:
            self.rest()
        self._decodes = True
        return self._decoder.decode(data)

    def rest(self):
        """Lets some output gather before the next read; what an event must wait for is read at once all the same."""
        self.rest_until = time.monotonic() + PACE_SECONDS

    def flush(self):
        """What an unfinished character left behind, as replacement characters."""
        if not self._decodes:
            return ''
        self._decodes = False
        return self._decoder.decode(b'', True)

    def close(self):
        os.close(self.fd)
