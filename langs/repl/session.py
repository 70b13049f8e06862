"""What all drivers of other languages share: the channel, executions, input, interrupts."""

import os
import select
import signal
import time

# How often a waiting reader is looked for: soon at first, then less often.
_FIRST_LOOK_S = 0.002
_LAST_LOOK_S = 0.025
MAX_TEXT = 1024 * 1024


class Session:
    """Serves the agent's requests; `execute(code, count)` of a subclass runs code and gives the status."""

    def __init__(self, channel):
        self._channel = channel
        self._execution = None
        self._count = 0
        self.interrupted = False
        self.environ = dict(os.environ)
        # A function, which programs that are started do not inherit.
        signal.signal(signal.SIGINT, self._note_interrupt)

    def _note_interrupt(self, number, frame):
        self.interrupted = True
        self.on_interrupt()

    def on_interrupt(self):
        """Called when an interrupt arrives; programs of the same process group have got it, too."""

    def run(self):
        self._channel.send({'type': 'ready'})
        while True:
            message = self._channel.receive()
            if message is None:
                return
            if message['method'] == 'configure':
                self.environ.update(message['params']['environ'])
                self.configured()
                self._channel.send({'type': 'reply', 'id': message['id']})
            elif message['method'] == 'execute':
                self._execute(message['id'], message['params']['code'])

    def configured(self):
        """Called when the environment is known."""

    def _execute(self, request_id, code):
        self._execution = request_id
        self._count += 1
        self.interrupted = False
        start = time.perf_counter()
        status = self.execute(code, self._count)
        duration = (time.perf_counter() - start) * 1000
        self.emit('execute_reply', status=status, durationMs=duration)
        self._execution = None

    def emit(self, event_type, **fields):
        self._channel.send({'type': event_type, 'id': self._execution, **fields})

    def emit_and_wait(self, event_type, **fields):
        """What is written after this comes after it."""
        self.emit(event_type, sync=True, **fields)
        while self._channel.receive()['method'] != 'synced':
            pass

    def error(self, name, message, trace=(), before=False):
        lines = [_cut(line) for line in trace][:1000]
        self.emit('error', name=name[:256], args=[_cut(message)], traceback=lines, before=before)

    def value(self, text):
        self.emit('execute_result', data={'text/plain': _cut(text)}, metadata={})

    def attend(self, stdin, descriptor):
        """Waits until `descriptor` can be read, and asks for input where a program waits for it."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        asks = False
        look = _FIRST_LOOK_S
        while not poll.poll(None if asks else look * 1000):
            if not asks and stdin.is_waited_for():
                self.emit('input_request', prompt='', password=False)
                poll.register(self._channel.fileno(), select.POLLIN)
                asks = True
            look = min(look * 1.5, _LAST_LOOK_S)
        if not asks:
            return
        poll.unregister(descriptor)
        if not poll.poll(0):
            return  # it was interrupted, or needs no answer any more
        stdin.give(self._channel.receive()['params']['text'])


def _cut(text):
    return text if len(text) <= MAX_TEXT else f'{text[:MAX_TEXT]}\n… cut: {len(text) - MAX_TEXT} characters'
