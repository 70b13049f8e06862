"""The interpreter as the server sees it: states, the one execution, and the order of its events."""

import os
import time
from _signal import SIGKILL

from . import messages
from .frames import FrameError
from .poller import READ, WRITE
from .processes import kill_descendants

# Of an evaluator that has ended: its last words are at most what sockets and pipes held.
LAST_WORDS_BYTES = 8 * 1024 * 1024


class Kernel:
    """
    Starts evaluators with `start_evaluator` and turns what they say into events in `ring`. `changes` tells of files. One that is
    `stateless` has nothing to lose between executions.
    """

    def __init__(self, ring, start_evaluator, changes, stateless):
        self._ring = ring
        self.changes = changes
        self._stateless = stateless
        self._start_evaluator = start_evaluator
        self.evaluator = None
        self.state = 'starting'
        self.execution = None
        self.last_execution = None
        self._started = 0
        self.asking = False
        # Who asks reads the standard input.
        self._asks_by_stdin = False
        self._environ = None
        self._configuring = set()
        self._questions = set()
        self._restarting = []
        self._ready_said = False
        self._pending = None

    def start(self):
        self.evaluator = self._start_evaluator()
        self.state = 'starting'
        self._ready_said = False
        if self._environ is not None:
            self.evaluator.send('configure', None, {'environ': self._environ})

    # Requests of the server.

    @property
    def environ(self):
        """The variables that were configured."""
        return self._environ or {}

    def obey(self, poller, request_id, method, params):
        """Carries out a valid request that concerns the interpreter."""
        if method == 'restart':
            self._restart(poller, request_id)
        elif method == 'configure':
            self._configure(request_id, params)
        elif method == 'execute':
            self._execute(request_id, params)
        elif method in ('complete', 'inspect'):
            self._ask(request_id, method, params)
        elif method == 'interrupt' and params['execution'] in self._questions:
            self.evaluator.interrupt()
            self._reply(request_id)
        elif params['execution'] != self.execution:
            self._fail(request_id, 'not-running', 'that execution is not running')
        elif method == 'interrupt':
            # An answer that comes after an interrupt is an answer to nothing.
            self.asking = False
            if self.evaluator.stdin:
                self.evaluator.stdin.interrupted()
            self.evaluator.interrupt()
            self._reply(request_id)
        elif not self.asking:
            self._fail(request_id, 'not-asking', 'that execution does not wait for input')
        else:
            self.asking = False
            if self._asks_by_stdin:
                self.evaluator.stdin.give(params['text'])
            else:
                self.evaluator.send('input', request_id, {'text': params['text']})
            self._reply(request_id)

    def _configure(self, request_id, params):
        self._environ = params['environ']
        if self.evaluator is None:
            self._fail(request_id, 'dead', 'the evaluator is dead; a restart will apply this')
            return
        self._configuring.add(request_id)
        self.evaluator.send('configure', request_id, params)

    def _execute(self, request_id, params):
        if self.evaluator is None:
            self._fail(request_id, 'dead', 'the evaluator is dead')
        elif self.execution is not None:
            self._fail(request_id, 'busy', 'another execution is running')
        else:
            self._take_output_of_nobody()
            self.execution = self.last_execution = request_id
            self._started = time.perf_counter()
            for output in self.evaluator.outputs:
                output.rest()
            if self.evaluator.stdin:
                self.evaluator.stdin.begin()
            self.changes.begin()
            self.evaluator.send('execute', request_id, params)

    def _ask(self, request_id, method, params):
        """A question about what is typed; whoever asked may interrupt it by its id."""
        if self.evaluator is None:
            self._fail(request_id, 'dead', 'the evaluator is dead')
        elif self.execution is not None:
            self._fail(request_id, 'busy', 'an execution is running')
        else:
            self._questions.add(request_id)
            self.evaluator.send(method, request_id, params)

    def _restart(self, poller, request_id):
        kill_descendants()
        if self.evaluator is not None:
            self._end(poller, 'the evaluator was restarted')
        self._restarting.append(request_id)
        self.start()

    def _reply(self, request_id, result=None):
        self._ring.add('reply', request_id, {'result': result or {}})

    def _fail(self, request_id, code, message):
        self._ring.add('fail', request_id, {'code': code, 'message': message})

    # The evaluator's side.

    def want(self, wanted):
        """Adds the descriptors to wait for; the seconds to wait at most, -1 for ever."""
        evaluator = self.evaluator
        if evaluator is None:
            return -1
        mask = WRITE if evaluator.sending else 0
        if not self._ring.full:
            # An evaluator that does not read its answers is not asked for more questions.
            if self._pending is None and not evaluator.broken and not evaluator.sending:
                mask |= READ
            timeout = self._want_output(wanted)
            if self._minds_stdin():
                look = evaluator.stdin.wait()
                timeout = look if timeout < 0 else min(timeout, look)
        else:
            timeout = -1
        if mask:
            wanted[evaluator.fileno()] = mask
        return timeout

    def _want_output(self, wanted):
        timeout = -1
        now = time.monotonic()
        for output in self.evaluator.outputs:
            if output.ended:
                continue
            if output.rest_until > now:
                rest = output.rest_until - now
                timeout = rest if timeout < 0 else min(timeout, rest)
            else:
                wanted[output.fd] = READ
        return timeout

    def move(self, ready):
        """Takes on what the ready descriptors offer, as far as the window allows."""
        evaluator = self.evaluator
        if evaluator is None:
            return
        for output in evaluator.outputs:
            if output.fd in ready and not self._ring.full:
                self._emit(output, output.read())
        if evaluator.fileno() in ready:
            evaluator.flush()
            if not evaluator.broken and not evaluator.sending and not self._ring.full and self._pending is None:
                evaluator.receive()
        try:
            self._forward_messages(lambda: not self._ring.full)
        except (FrameError, messages.Malformed):
            evaluator.broken = True
            self._pending = None
        if evaluator.broken:
            evaluator.kill()
        elif self._minds_stdin() and not self._ring.full and evaluator.stdin.asks():
            # What it wrote before it asked comes first.
            self._take_owed()
            self._flush_outputs()
            self._ask_for_input({'prompt': '', 'password': False}, by_stdin=True)

    def _minds_stdin(self):
        return self.evaluator.stdin is not None and self.execution is not None and not self.asking

    def _ask_for_input(self, fields, by_stdin):
        self._ring.add('input_request', self.execution, fields)
        self.asking = True
        self._asks_by_stdin = by_stdin

    def _forward_messages(self, allowed):
        """Forwards the messages taken in, each after the output written before it, while `allowed()`."""
        evaluator = self.evaluator
        while allowed():
            if self._pending is None:
                message = evaluator.next_message()
                if message is None:
                    return
                self._pending = messages.parse_event(message)
                if self._pending is None:
                    continue
                synced = message.get('sync') is True
                self._pending += (synced,)
            for output in evaluator.outputs:
                while output.owed:
                    if not allowed():
                        return
                    self._emit(output, output.read())
            event_type, request_id, fields, synced = self._pending
            self._pending = None
            self._forward(event_type, request_id, fields)
            if synced:
                evaluator.send('synced', None, {})

    def _forward(self, event_type, request_id, fields):
        if event_type == 'ready':
            self._ready_said = True
            if self._environ is None or not self._restarting:
                self._ready()
        elif event_type == 'reply':
            if request_id is None and self._ready_said:
                self._ready()
            elif request_id in self._configuring:
                self._configuring.remove(request_id)
                self._reply(request_id)
            elif request_id in self._questions:
                self._questions.remove(request_id)
                self._reply(request_id, fields.get('result'))
        elif request_id != self.execution:
            pass  # of an execution that is over, or was never asked for
        elif event_type == 'execute_reply':
            if request_id is not None:
                self._flush_outputs()
                self._ring.add(event_type, request_id, {**fields, **self.changes.end()})
                self.execution = None
                self.asking = False
        elif event_type == 'input_request':
            if request_id is not None:
                self._ask_for_input(fields, by_stdin=False)
        else:
            self._ring.add(event_type, request_id, fields)

    def _ready(self):
        if self.state != 'starting':
            return
        self.state = 'ready'
        self._ring.add('status', None, {'state': 'ready'})
        for request_id in self._restarting:
            self._reply(request_id)
        self._restarting.clear()

    def bury(self, poller, status):
        """The evaluator has ended by itself, with this wait status."""
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGKILL
        was_ready = self.state == 'ready'
        pid = self.evaluator.pid
        execution = self._end(poller, 'the evaluator died')
        if self._stateless and was_killed and was_ready:
            self._replace(pid, execution)
            return
        self.state = 'dead'
        exited = os.WIFEXITED(status)
        self._ring.add('status', None, {
            'state': 'dead',
            'exit': os.WEXITSTATUS(status) if exited else None,
            'signal': None if exited else os.WTERMSIG(status),
        })

    def _replace(self, pid, execution):
        """
        Starts a new evaluator for a killed one; only what it ran has come to an end. For a moment after the kernel has killed a program
        of many threads for memory it does not see that some will be free soon, and kills who wants some next: it may be the evaluator.
        """
        try:
            os.killpg(pid, SIGKILL)
        except ProcessLookupError:
            pass
        if execution is not None:
            message = 'the program was ended by SIGKILL, perhaps as it used too much memory'
            self._ring.add('error', execution, {'name': 'SIGKILL', 'args': [message], 'traceback': [], 'before': False})
            duration = (time.perf_counter() - self._started) * 1000
            self._ring.add('execute_reply', execution, {'status': 'error', 'durationMs': duration, **self.changes.end()})
        self.start()

    def _end(self, poller, reason):
        """Passes on an ended evaluator's last words, whatever the window, and forgets it. The execution that it did not end."""
        evaluator = self.evaluator
        try:
            budget = LAST_WORDS_BYTES // 65536
            while budget and not evaluator.broken and evaluator.receive():
                budget -= 1
                self._forward_messages(lambda: True)
            self._forward_messages(lambda: True)
        except (FrameError, messages.Malformed):
            pass  # it is dead already
        self._pending = None
        self._take_owed()
        self._flush_outputs()
        poller.forget(evaluator.fileno())
        for output in evaluator.outputs:
            poller.forget(output.fd)
        evaluator.close()
        execution = self.execution
        self.evaluator = None
        self.execution = None
        self.asking = False
        for request_id in (*self._configuring, *self._questions, *self._restarting):
            self._fail(request_id, 'dead', reason)
        self._configuring.clear()
        self._questions.clear()
        self._restarting.clear()
        return execution

    # Output.

    def _emit(self, output, text):
        if text:
            self._ring.add('stream', self.execution, {'name': output.name, 'text': text})

    def _take_owed(self):
        for output in self.evaluator.outputs:
            output.owe()
            while output.owed:
                self._emit(output, output.read())

    def _take_output_of_nobody(self):
        """What was written before an execution starts must not be counted as its own."""
        if self._pending is None and not self._ring.full:
            self._take_owed()
            self._flush_outputs()

    def _flush_outputs(self):
        for output in self.evaluator.outputs:
            self._emit(output, output.flush())
