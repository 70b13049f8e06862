"""Drives an interpreter that keeps its state: the evaluator of kernel types that have a loop in their own language."""

import os
import signal

from .interpreter import Broken, Interpreter
from .session import Session


def main(channel, spec):
    """Called in a process forked from the agent; returns when the agent is gone."""
    Driver(channel, spec['options'], spec['folder']).run()


class Driver(Session):
    """Reports: `value TEXT`, `error NAME\\0MESSAGE\\0BEFORE\\0LINE...`, `display MIME\\0TEXT` (waits for `ok`),
    `ask PROMPT` (waits for `input`), `done STATUS`."""

    def __init__(self, channel, options, folder):
        super().__init__(channel)
        self._options = options
        self._folder = folder
        self._interpreter = None
        self._flag = options.get('flag')

    def configured(self):
        if self._interpreter is None:
            self._start()

    def _start(self):
        self._interpreter = Interpreter(self._options, self._folder, self.environ, self._flag is not None)

    def on_interrupt(self):
        """For interpreters that a signal would end: they look for a file now and then."""
        if self._flag is None or self._interpreter is None:
            return
        os.close(os.open(self._flag, os.O_CREAT | os.O_WRONLY, 0o600))
        self._interpreter.signal_others(signal.SIGINT)
        if self._interpreter.stdin.is_waited_for():
            self._interpreter.stdin.wake()

    def execute(self, code, count):
        if self._interpreter is None:
            self._start()
        interpreter = self._interpreter
        interpreter.stdin.clear()
        if self._flag is not None and os.path.exists(self._flag):
            os.unlink(self._flag)
        interpreter.run(code, count)
        failed = False
        while True:
            self.attend(interpreter.stdin, interpreter.reports)
            try:
                reports = interpreter.receive()
            except Broken as problem:
                os.write(2, f'the interpreter broke the protocol: {problem}\n'.encode())
                os.kill(interpreter.pid, signal.SIGKILL)
                reports = None
            if reports is None:
                return self._ended()
            for word, payload in reports:
                text = payload.decode('utf-8', 'surrogateescape')
                if word == 'done':
                    return self._status(text, failed)
                failed = failed or word == 'error'
                self._tell(word, text)

    def _status(self, text, failed):
        if text == 'interrupted?':  # it looks so, but may as well be what the code made of it
            text = 'interrupted' if self.interrupted else 'ok'
            if self.interrupted:
                self.error('Interrupt', 'interrupted', ['interrupted\n'])
        return 'error' if failed and text == 'ok' else text

    def _tell(self, word, text):
        if word == 'value':
            self.value(text)
        elif word == 'error':
            name, message, before, *lines = text.split('\0')
            self.error(name, message, [f'{line}\n' for line in lines], before == '1')
        elif word == 'ask':
            self.ask(text, self._interpreter.answer)
        elif word == 'display':
            mime, _, content = text.partition('\0')
            self.emit_and_wait('display_data', data={mime: content}, metadata={})
            self._interpreter.go_on()

    def _ended(self):
        code = self._interpreter.wait()
        self._interpreter = None
        if code == -signal.SIGINT or (code < 0 and self.interrupted):
            self.error('Interrupt', 'the interpreter ended by the interrupt; a new one has started, and variables are gone')
            status = 'interrupted'
        elif code < 0:
            # Whoever watches this process sees how the interpreter died.
            signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
            os.kill(os.getpid(), -code)
            signal.pause()
        else:
            message = f'exit status {code}: the interpreter has ended; a new one has started, and variables are gone'
            self.error('SystemExit', message)
            status = 'error'
        self._start()
        return status
