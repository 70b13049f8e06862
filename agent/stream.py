"""A connection that carries files: requests, each answered, with bytes before the answer or after the request."""

from . import frames, messages
from .files import Files
from .folder import Refused
from .poller import READ, WRITE

READ_BYTES = 256 * 1024
# What one connection may send before the others, and the evaluator, are looked at again.
TURN_BYTES = 1024 * 1024


class Handover(Exception):
    """The first request shows that this connection is of another kind: (message, decoder with what came behind it)."""


_ELSEWHERE = ('attach', 'terminal')


class Stream:
    """Serves one connection until the server, which has what it wanted, closes it."""

    def __init__(self, sock, root, on_written):
        sock.setblocking(False)
        self.socket = sock
        self._decoder = frames.FrameDecoder()
        self._files = Files(root, on_written)
        self._is_new = True
        self._outgoing = memoryview(b'')
        self._request_id = None
        self._pieces = None
        self._unfinished = False

    def fileno(self):
        return self.socket.fileno()

    def descriptors(self):
        """Those it may wait for; to be forgotten before it is closed."""
        return (self.fileno(),)

    def bury(self, pid, status):
        """A child has ended; none of a stream's."""

    def want(self, wanted):
        """Adds what to wait for: while it has something to do, it takes no more requests."""
        wanted[self.fileno()] = WRITE if self._unfinished else READ

    def move(self, ready):
        """Goes on for a while; False when the connection is over, Handover when it is of another kind."""
        if self.fileno() not in ready:
            return True
        try:
            if not self._unfinished:
                data = self.socket.recv(READ_BYTES)
                if not data:
                    return False
                self._decoder.feed(data)
            self._unfinished = True
            self._unfinished = not self._work(TURN_BYTES)
            return True
        except BlockingIOError:
            return True
        except (frames.FrameError, messages.Malformed, OSError):
            return False

    def close(self):
        if self._pieces is not None:
            self._pieces.close()
        self._files.close()
        self.socket.close()

    def _work(self, budget):
        """True when there is nothing left to do; BlockingIOError while the server does not read."""
        while True:
            while self._outgoing:
                count = self.socket.send(self._outgoing)
                self._outgoing = self._outgoing[count:]
                budget -= count
            if budget <= 0:
                return False
            if self._pieces is not None:
                if not self._advance():
                    return False
                continue
            frame = self._decoder.next()
            if frame is None:
                return True
            kind, value = frame
            if kind == frames.KIND_JSON:
                self._obey(value)
            else:
                self._take(value[1])

    def _obey(self, message):
        if self._is_new and isinstance(message, dict) and message.get('method') in _ELSEWHERE:
            raise Handover(message, self._decoder)
        self._is_new = False
        self._request_id, method, params = messages.parse_stream_request(message)
        self._try(lambda: self._answer(self._files.request(method, params)))

    def _answer(self, result):
        if isinstance(result, dict):
            self._reply(result)
        else:
            self._pieces = result

    def _advance(self):
        """The next piece of the answer; False to let others have their turn first."""
        piece = self._try(lambda: next(self._pieces))
        if piece:
            self._outgoing = memoryview(frames.encode_bytes(piece))
        return piece != b''

    def _take(self, data):
        self._is_new = False
        self._try(lambda: self._files.data(data))

    def _try(self, action):
        """What `action` returns; what a generator returns, and what is refused, is answered."""
        try:
            return action()
        except StopIteration as end:
            self._pieces = None
            self._reply(end.value)
        except Refused as refusal:
            self._fail(refusal)
        except OSError as problem:
            self._fail(Refused.of(problem))
        return None

    def _reply(self, result):
        self._say({'type': 'reply', 'id': self._request_id, 'result': result})

    def _fail(self, refusal):
        self._pieces = None
        self._files.close()
        self._say({
            'type': 'fail', 'id': self._request_id, 'code': refusal.code, 'message': refusal.message[:1000], 'details': refusal.details,
        })

    def _say(self, message):
        self._outgoing = memoryview(bytes(self._outgoing) + frames.encode(message))
