"""The event loop: obeys the server, minds the evaluator, serves files and terminals."""

import _signal as signal
import _socket
import os

from . import evaluator, messages, processes
from .changes import Changes
from .frames import FrameError
from .kernel import Kernel
from .link import Link, LinkClosed
from .poller import READ, WRITE, Poller
from .rehearsal import rehearse
from .ring import Ring
from .stream import Handover, Stream
from .terminal import Terminal

# Connections besides the server's link; one more is closed.
MAX_STREAMS = 32

class Agent:
    """One per sandbox. A connection is the server's link if it says so first, a newer one replaces the older; others carry files or a terminal."""

    def __init__(self, listener, spec, lang_folder):
        listener.setblocking(False)
        self._listener = listener
        self._link = None
        self._streams = []
        self._work = os.open('.', os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._poller = Poller()
        self._children = _watch_children()
        self._ring = Ring()
        self._spec = spec
        self._lang_folder = lang_folder
        self._kernel = Kernel(self._ring, self._start_evaluator, Changes(self._work), spec.get('stateless', False))

    def run(self):
        """Never returns."""
        kernel = self._kernel
        kernel.start()
        while True:
            wanted = {self._listener.fileno(): READ, self._children: READ}
            if self._link is not None:
                wanted[self._link.fileno()] = READ | (WRITE if self._link.sending else 0)
            for stream in self._streams:
                stream.want(wanted)
            timeout = kernel.want(wanted)
            ready = self._poller.wait(wanted, timeout)
            if self._link is not None and self._link.fileno() in ready:
                self._serve(self._link.receive())
            for stream in tuple(self._streams):
                if stream in self._streams:
                    self._move(stream, ready)
            if self._listener.fileno() in ready:
                self._accept()
            kernel.move(ready)
            if self._children in ready:
                os.read(self._children, 4096)
                self._bury()
            self._flush()

    def _start_evaluator(self):
        started = evaluator.start(self._spec, self._lang_folder)
        rehearse(self._poller, self._work)
        return started

    def _accept(self):
        try:
            descriptor, _ = self._listener._accept()
        except OSError:
            return  # it hung up before it was taken
        if len(self._streams) >= MAX_STREAMS:
            os.close(descriptor)
        else:
            self._streams.append(Stream(_socket.socket(fileno=descriptor), self._work, self._kernel.changes.written))

    def _move(self, stream, ready):
        try:
            if stream.move(ready):
                return
            self._close(stream)
        except Handover as handover:
            self._streams.remove(stream)
            self._take_over(stream.socket, *handover.args)

    def _close(self, stream):
        self._streams.remove(stream)
        for fd in stream.descriptors():
            self._poller.forget(fd)
        stream.close()

    def _take_over(self, sock, message, decoder):
        if message['method'] == 'attach':
            # What a server that was killed has sent, it may have told its clients about.
            if self._link is not None:
                self._serve(self._link.drain())
            self._hang_up()
            self._link = Link(sock, decoder)
            self._serve((message,))
            self._serve(self._link.arrived() if self._link else ())
            return
        try:
            self._streams.append(Terminal(sock, decoder, message, self._kernel.environ))
        except (FrameError, messages.Malformed, OSError):
            self._poller.forget(sock.fileno())
            sock.close()

    def _hang_up(self):
        if self._link is not None:
            self._poller.forget(self._link.fileno())
            self._link.close()
            self._link = None

    def _serve(self, messages_arrived):
        try:
            for message in messages_arrived:
                self._obey(message)
        except (LinkClosed, FrameError, messages.Malformed):
            self._hang_up()

    def _obey(self, message):
        try:
            request_id, method, params = messages.parse_request(message)
        except messages.UnknownMethod as unknown:
            request_id, method = unknown.args
            self._ring.add('fail', request_id, {'code': 'unknown-method', 'message': f'no method {method[:64]!r}'})
            return
        if method == 'ack':
            self._ring.drop(params['seq'])
        elif method == 'attach':
            self._attach(request_id, params['after'])
        elif method == 'ping':
            self._ring.add('reply', request_id, {'result': {}})
        else:
            if method == 'restart':
                # Everything is killed, shells too.
                for terminal in [stream for stream in self._streams if isinstance(stream, Terminal)]:
                    self._close(terminal)
            self._kernel.obey(self._poller, request_id, method, params)

    def _attach(self, request_id, after):
        after = min(after, self._ring.next_seq - 1)
        self._ring.drop(after)
        answer = {
            'type': 'attached',
            'id': request_id,
            'protocol': messages.PROTOCOL,
            'state': self._kernel.state,
            'execution': self._kernel.execution,
            'last': self._kernel.last_execution,
            'asking': self._kernel.asking,
            'quietMs': self._ring.quiet_ms,
            'cut': self._ring.cut,
            'first': max(after + 1, self._ring.first_seq),
            'next': self._ring.next_seq,
        }
        self._link.attach(answer, after)

    def _flush(self):
        if self._link is None:
            return
        try:
            self._link.flush(self._ring)
        except LinkClosed:
            self._hang_up()

    def _bury(self):
        for pid, status in processes.reap():
            for stream in self._streams:
                stream.bury(pid, status)
            if self._kernel.evaluator is not None and pid == self._kernel.evaluator.pid:
                self._kernel.bury(self._poller, status)


def _watch_children():
    """A descriptor that becomes readable when a child ends."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading
