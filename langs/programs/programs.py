"""Compiles and runs: the evaluator of kernel types whose code is a whole program. Files in the working directory stay."""

import os
import re
import shutil
import signal

from cob_agent import asking_pipe

from .session import Session, be_killed_first

FOLDER = '/tmp/.cob-program'
MAX_OUTPUT_BYTES = 256 * 1024


def main(channel, spec):
    """Called in a process forked from the agent; returns when the agent is gone."""
    Programs(channel, spec['options'], spec['folder']).run()


class Programs(Session):
    """
    Options: `source`, the name of the source file; `build` and `run`, commands in which `{source}`, `{name}` (without what follows the
    dot), `{folder}` and `{lang}`, where the kernel type's files are, stand for themselves; `named`, regular expressions, of which the first
    one found has the name that this code wants as its group; `environ`, variables for both.
    """

    def __init__(self, channel, options, lang_folder):
        super().__init__(channel)
        self._options = options
        self._lang_folder = lang_folder
        self._stdin = asking_pipe.AskingPipe()
        self._wakes, writer = os.pipe()
        for fd in (self._wakes, writer):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def execute(self, code, count):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        source = self._name(code)
        with open(os.path.join(FOLDER, source), 'w', encoding='utf-8', errors='surrogateescape') as file:
            file.write(code)
        status, output = self._build(self._words('build', source))
        text = output.decode('utf-8', 'replace').replace(f'{FOLDER}/', '')
        if self.interrupted:
            return self._say_interrupted()
        if status != 0:
            lines = text.splitlines(keepends=True) or [f'{self._words("build", source)[0]}: {_say(status)}\n']
            told = [line for line in lines if not line.startswith('#')] or lines
            first = next((line for line in told if 'error' in line.lower()), told[0])
            self.error('CompileError', first.strip(), lines, True)
            return 'error'
        if text:
            os.write(2, text.encode('utf-8', 'surrogateescape'))
        self._stdin.clear()
        return self._report(self._run(self._words('run', source)))

    def _name(self, code):
        found = (re.search(pattern, code, re.MULTILINE) for pattern in self._options.get('named', ()))
        wanted = next(filter(None, found), None)
        source = self._options['source']
        return wanted.group(1) + os.path.splitext(source)[1] if wanted else source

    def _words(self, command, source):
        values = {
            '{source}': os.path.join(FOLDER, source), '{name}': os.path.splitext(source)[0], '{folder}': FOLDER, '{lang}': self._lang_folder,
        }
        return [re.sub(r'\{\w+\}', lambda match: values[match.group()], word) for word in self._options[command]]

    def _build(self, argv):
        """(status as waitstatus_to_exitcode gives it, what the compiler printed)"""
        reader, writer = os.pipe()
        pid = self._start(argv, os.devnull, writer)
        os.close(writer)
        output = bytearray()
        while True:
            data = os.read(reader, 65536)
            if not data:
                break
            output += data[:max(0, MAX_OUTPUT_BYTES - len(output))]
        os.close(reader)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), bytes(output)

    def _run(self, argv):
        pid = self._start(argv, self._stdin.reader, None)
        while True:
            self.attend(self._stdin, self._wakes)
            try:
                os.read(self._wakes, 4096)
            except BlockingIOError:
                pass
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)

    def _report(self, status):
        if status == 0:
            return 'ok'
        if self.interrupted:
            return self._say_interrupted()
        name = signal.Signals(-status).name if status < 0 else 'ExitError'
        self.error(name, _say(status))
        return 'error'

    def _say_interrupted(self):
        self.error('Interrupt', 'the program was interrupted')
        return 'interrupted'

    def _start(self, argv, stdin, output):
        environ = {**self._options.get('environ', {}), **self.environ}
        pid = os.fork()
        if pid != 0:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(stdin, os.O_RDONLY) if isinstance(stdin, str) else stdin, 0)
            be_killed_first()
            if output is not None:
                os.dup2(output, 1)
                os.dup2(output, 2)
            os.execve(argv[0], argv, environ)
        except BaseException as problem:  # nothing may unwind into the driver
            os.write(2, f'{argv[0]}: {problem}\n'.encode('utf-8', 'replace'))
        finally:
            os._exit(127)


def _say(status):
    if status >= 0:
        return f'exit status {status}'
    name = signal.Signals(-status).name
    hint = ', perhaps as it used too much memory' if -status == signal.SIGKILL else ''
    return f'the program was ended by {name}{hint}'
