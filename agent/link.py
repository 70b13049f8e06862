"""One connection from the server."""

import select

from . import frames

BATCH_BYTES = 256 * 1024


class LinkClosed(Exception):
    """The server hung up."""


class Link:
    """Reads requests and sends the ring's events from where the server said it stopped reading."""

    def __init__(self, sock, decoder):
        """`sock` does not block; `decoder` may hold requests that have arrived."""
        self._socket = sock
        self._decoder = decoder
        self._outgoing = memoryview(b'')
        self._sent = None

    def fileno(self):
        return self._socket.fileno()

    @property
    def sending(self):
        """True while bytes wait for the server to read."""
        return len(self._outgoing) > 0

    def receive(self):
        """The JSON messages that arrived; LinkClosed at the end, FrameError on a violation."""
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if not data:
            raise LinkClosed
        self._decoder.feed(data)
        yield from self.arrived()

    def drain(self):
        """All that has arrived; LinkClosed after it, where the server has ended."""
        while select.select((self._socket,), (), (), 0)[0]:
            yield from self.receive()

    def arrived(self):
        """The JSON messages taken in; bytes have connections of their own."""
        frame = self._decoder.next()
        while frame is not None:
            if frame[0] == frames.KIND_JSON:
                yield frame[1]
            frame = self._decoder.next()

    def attach(self, answer, after):
        """Sends `answer`, then every event numbered above `after`."""
        self._outgoing = memoryview(bytes(self._outgoing) + frames.encode(answer))
        self._sent = after

    def flush(self, ring):
        """Sends as much as the server takes now; LinkClosed when it is gone."""
        while True:
            if not self._outgoing:
                if self._sent is None or self._sent + 1 >= ring.next_seq:
                    return
                data, self._sent = ring.batch(self._sent, BATCH_BYTES)
                self._outgoing = memoryview(data)
            try:
                count = self._socket.send(self._outgoing)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                raise LinkClosed from None
            self._outgoing = self._outgoing[count:]

    def close(self):
        self._socket.close()
