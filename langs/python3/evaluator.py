"""The python3 evaluator: runs what the agent sends, on the main thread, until the agent is gone."""

import _socket
import builtins
import os
import site
import sys
import time
import types

from cob_agent import frames
from cob_agent.channel import Channel

from . import interrupts, tracebacks
from .asking import Asker
from .display import Display, prepare_environ
from .execution import NotCompiled, Runner
from .imports import ImportHook
from .interrupts import Held
from .sources import Sources
from .streams import Streams, unbuffer_libc
from .tasks import Loop


def main(channel, options):
    """Called in a process forked from the agent; returns when the agent is gone."""
    interrupts.refuse()
    Evaluator(channel).run()


class Evaluator:
    """One session's interpreter."""

    def __init__(self, channel):
        self._channel = channel
        self._execution = None
        self._sources = Sources()
        self._streams = Streams()
        self._asker = Asker(channel, Held, lambda: self._execution)
        self._display = Display(channel, self._emit)
        self._begin(_new_main_module())
        unbuffer_libc()
        self._restore()

    def _begin(self, module):
        self._runner = Runner(module.__dict__, self._sources, Loop())
        sys.meta_path.insert(0, ImportHook({
            'getpass': self._asker.patch_getpass,
            'linecache': self._sources.fill,
            **self._display.patches,
        }))
        prepare_environ(os.environ)

    def run(self):
        self._rehearse()
        self._channel.send({'type': 'ready'})
        while True:
            message = self._channel.receive()
            if message is None:
                return
            if message['method'] == 'configure':
                self._configure(message['id'], message['params']['environ'])
            elif message['method'] == 'execute':
                self._execute(message['id'], message['params']['code'])
            elif message['method'] in ('complete', 'inspect'):
                self._answer(message['id'], message['method'], message['params'])

    def _rehearse(self):
        """Goes through an execution that leaves nothing behind: the first one of a session then takes no longer than others."""
        kept = self._runner, self._channel
        ours, theirs = _socket.socketpair()
        theirs.sendall(frames.encode({'id': None, 'method': 'execute', 'params': {'code': '0'}}))
        self._runner, self._channel = Runner({}, Sources(), None), Channel(ours)
        message = self._channel.receive()
        self._execute(message['id'], message['params']['code'])
        self._runner, self._channel = kept
        ours.close()
        theirs.close()
        del builtins._

    def _answer(self, request_id, method, params):
        result = {}
        # Attributes of the user's classes may be code, which fails, hangs and is interrupted.
        _guarded(lambda: result.update(self._look(method, params['code'], params['cursor'])))
        self._streams.flush()
        empty = {'found': False, 'data': {}} if method == 'inspect' else \
            {'matches': [], 'start': params['cursor'], 'end': params['cursor']}
        self._channel.send({'type': 'reply', 'id': request_id, 'result': result or empty})

    def _look(self, method, code, cursor):
        from . import completion
        look = completion.complete if method == 'complete' else completion.look_up
        return look(code, cursor, sys.modules['__main__'].__dict__)

    def _configure(self, request_id, environ):
        for name, value in environ.items():
            try:
                os.environ[name] = value
            except ValueError as problem:  # a name with '=' or NUL
                print(f'environment variable {name!r}: {problem}', file=sys.stderr)
        time.tzset()
        self._channel.send({'type': 'reply', 'id': request_id})

    def _execute(self, request_id, code):
        self._execution = request_id
        self._restore()
        _add_user_site()
        start = time.perf_counter()
        status = self._run(code)
        if status != 'interrupted':
            problem = _guarded(self._display.show_open_figures)
            if problem is not None:
                status = self._report(problem)
        duration = (time.perf_counter() - start) * 1000
        if not self._channel.mine:
            self._streams.flush()
            os._exit(0 if status == 'ok' else 1)  # a child forked by user code that came back here
        self._emit('execute_reply', {'status': status, 'durationMs': duration})
        self._execution = None

    def _run(self, code):
        """The execution's status."""
        problem = _guarded(lambda: self._runner.run(code))
        return 'ok' if problem is None else self._report(problem)

    def _report(self, problem):
        """Tells of an exception; the execution's status."""
        before = isinstance(problem, NotCompiled)
        if before:
            problem = problem.__cause__
        if isinstance(problem, SystemExit):
            if problem.code is None or problem.code == 0:
                return 'ok'
            fields = tracebacks.exit_event(problem)
        else:
            sys.last_type, sys.last_value = type(problem), problem
            sys.last_traceback = tracebacks.trim(problem.__traceback__)
            fields = {'name': type(problem).__name__, 'args': [], 'traceback': [], 'before': before}
            # Formatting runs code of the user's classes, which may fail, hang and be interrupted.
            _guarded(lambda: fields.update(tracebacks.describe(problem, before, self._sources)))
        if self._channel.mine:
            self._emit('error', fields)
        else:
            print(''.join(fields['traceback']), file=sys.stderr, end='')
        return 'interrupted' if isinstance(problem, KeyboardInterrupt) else 'error'

    def _emit(self, event_type, fields, sync=False):
        """Sends an event after everything written before it; with `sync` also before anything written after it."""
        self._streams.flush()
        with Held() as main_thread:
            sync = sync and main_thread
            self._channel.send({'type': event_type, 'id': self._execution, 'sync': sync, **fields})
            while sync and self._channel.receive()['method'] != 'synced':
                pass

    def _restore(self):
        self._streams.restore()
        self._asker.restore()
        self._display.restore()


def _guarded(action):
    """Runs `action` with interrupts allowed; what it raised or None."""
    try:
        try:
            interrupts.allow()
            action()
        finally:
            interrupts.refuse()
    except BaseException as problem:
        interrupts.refuse()  # once more, for an interrupt that came before the line above
        return problem
    return None


def _new_main_module():
    """A fresh `__main__`, and the interpreter's settings as if it had been started without a program."""
    module = types.ModuleType('__main__')
    module.__builtins__ = builtins
    sys.modules['__main__'] = module
    sys.argv = ['']
    sys.path[0] = ''
    return module


def _add_user_site():
    """Packages installed for the user are importable from the next execution on."""
    if not site.ENABLE_USER_SITE:
        return
    folder = site.getusersitepackages()
    if folder not in sys.path and os.path.isdir(folder):
        site.addsitedir(folder)
