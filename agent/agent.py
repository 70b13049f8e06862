"""The event loop: obeys the server, minds the evaluator."""

import os
import signal

from . import messages, processes
from .evaluator import Evaluator
from .frames import FrameError
from .kernel import Kernel
from .link import Link, LinkClosed
from .poller import READ, WRITE, Poller
from .ring import Ring


class Agent:
    """One per sandbox. Accepts one connection at a time; a newer one replaces the older."""

    def __init__(self, listener, spec, lang_folder):
        listener.setblocking(False)
        self._listener = listener
        self._link = None
        self._poller = Poller()
        self._children = _watch_children()
        self._ring = Ring()
        self._kernel = Kernel(self._ring, lambda: Evaluator(spec, lang_folder))

    def run(self):
        """Never returns."""
        kernel = self._kernel
        kernel.start()
        while True:
            wanted = {self._listener.fileno(): READ, self._children: READ}
            if self._link is not None:
                wanted[self._link.fileno()] = READ | (WRITE if self._link.sending else 0)
            timeout = kernel.want(wanted)
            ready = self._poller.wait(wanted, timeout)
            if self._link is not None and self._link.fileno() in ready:
                self._serve()
            if self._listener.fileno() in ready:
                self._accept()
            kernel.move(ready)
            if self._children in ready:
                os.read(self._children, 4096)
                self._bury()
            self._flush()

    def _accept(self):
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it hung up before it was taken
        self._hang_up()
        self._link = Link(connection)

    def _hang_up(self):
        if self._link is not None:
            self._poller.forget(self._link.fileno())
            self._link.close()
            self._link = None

    def _serve(self):
        try:
            for message in self._link.receive():
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
