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
        self._give = None
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
            elif message['method'] in ('complete', 'inspect'):
                self._look(message['id'], message['method'], message['params'])

    def _look(self, request_id, method, params):
        cursor = params['cursor']
        empty = {'found': False, 'data': {}} if method == 'inspect' else {'matches': [], 'start': cursor, 'end': cursor}
        result = self.look(method, params['code'], cursor) or empty
        self._channel.send({'type': 'reply', 'id': request_id, 'result': result})

    def look(self, method, code, cursor):
        """The result of a question about typed code, {} without one."""
        return {}

    def configured(self):
        """Called when the environment is known."""

    def _execute(self, request_id, code):
        self._execution = request_id
        self._count += 1
        self.interrupted = False
        # An answer to nothing: of a question that an interrupt ended.
        self._give = None
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
        look = _FIRST_LOOK_S
        answer = None
        while answer is None:
            if self._poll(descriptor, None if self._give else look):
                return
            if self._give:
                answer = self._channel.receive()['params']['text']
            elif stdin.is_waited_for():
                self.ask('', stdin.give)
            look = min(look * 1.5, _LAST_LOOK_S)
        give, self._give = self._give, None
        give(answer)

    def ask(self, prompt, give, password=False):
        """Asks for input; `give` gets the text."""
        self.emit('input_request', prompt=prompt[:65536], password=password)
        self._give = give

    def _poll(self, descriptor, seconds):
        """True when `descriptor` can be read; False when an answer has come, or after so many seconds."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if self._give:
            poll.register(self._channel.fileno(), select.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return any(fd == descriptor for fd, _ in ready)


def be_killed_first():
    """In a program that is started: a kill for memory hits it, not its driver."""
    try:
        with open('/proc/self/oom_score_adj', 'w', encoding='ascii') as file:
            file.write('1000')
    except OSError:
        pass  # the kernel's own choice stands


def _cut(text):
    return text if len(text) <= MAX_TEXT else f'{text[:MAX_TEXT]}\n… cut: {len(text) - MAX_TEXT} characters'
