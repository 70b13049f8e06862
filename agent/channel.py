"""The evaluator's end of the channel, for evaluators forked from the agent."""

import _thread
import os
from _socket import MSG_DONTWAIT

from . import frames


class Channel:
    """Blocking frames on a socket. Only the process that made it may speak: forked children stay silent."""

    def __init__(self, sock):
        self._socket = sock
        self._decoder = frames.FrameDecoder()
        self._lock = _thread.allocate_lock()
        self._owner = os.getpid()

    @property
    def mine(self):
        """False in a child process that inherited this object."""
        return os.getpid() == self._owner

    def fileno(self):
        return self._socket.fileno()

    def receive(self):
        """The next message, None when the agent is gone."""
        while True:
            frame = self._decoder.next()
            if frame is not None:
                return frame[1]
            data = self._socket.recv(65536)
            if not data:
                return None
            self._decoder.feed(data)

    def discard(self):
        """Forgets what has arrived: an answer to a question that is no longer asked."""
        while True:
            try:
                data = self._socket.recv(65536, MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data:
                break
            self._decoder.feed(data)
        while self._decoder.next() is not None:
            pass

    def send(self, message):
        """Sends a whole frame. Must not be left half-way by an exception from a signal handler."""
        frame = frames.encode(message)
        with self._lock:
            self._socket.sendall(frame)
