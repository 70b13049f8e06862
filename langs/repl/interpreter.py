"""An interpreter of another language: a process that takes code on one pipe and reports on another."""

import os
import signal

from cob_agent import asking_pipe

from .session import be_killed_first

COMMANDS_FD = 3
REPORTS_FD = 4
MAX_REPORT_BYTES = 6 * 1024 * 1024


class Broken(Exception):
    """It said what it may not say."""


class Interpreter:
    """
    Runs `argv`. A command is `run BYTES COUNT` and a newline, then so many bytes; a report the same with a word of its own. `{lang}` in
    options stands for the folder of the kernel type.

    Options: `prelude`: a file that is sent first, for shells that read commands as a script; `run` and `after`: what stands in place of
    the line of `run`, and a line after the code.
    """

    def __init__(self, options, folder, environ, own_group):
        self.stdin = asking_pipe.AskingPipe()
        commands_read, self._commands = os.pipe()
        self.reports, reports_write = os.pipe()
        argv = [word.replace('{lang}', folder) for word in options['argv']]
        self._run = options.get('run', 'run {size} {count}')
        self._after = options.get('after')
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, environ, self.stdin.reader, commands_read, reports_write, own_group)
        os.close(commands_read)
        os.close(reports_write)
        os.set_blocking(self.reports, False)
        self._buffer = bytearray()
        if 'prelude' in options:
            with open(options['prelude'].replace('{lang}', folder), 'rb') as file:
                self._send(file.read())

    def run(self, code, count):
        data = code.encode('utf-8', 'surrogateescape')
        line = self._run.replace('{size}', str(len(data))).replace('{count}', str(count))
        after = f'\n{self._after}\n'.encode() if self._after else b''
        self._send(f'{line}\n'.encode() + data + after)

    def go_on(self):
        """Answers a report that waits for an answer."""
        self._send(b'ok 0\n')

    def answer(self, text):
        """Answers a question it reported."""
        data = text.encode('utf-8', 'surrogateescape')
        self._send(f'input {len(data)}\n'.encode() + data)

    def receive(self):
        """The reports that have arrived, as (word, bytes); None at the end."""
        try:
            data = os.read(self.reports, 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        self._buffer += data
        return list(self._take())

    def _take(self):
        while True:
            end = self._buffer.find(b'\n', 0, 64)
            if end < 0:
                if len(self._buffer) >= 64:
                    raise Broken('a report without a header')
                return
            word, _, size = bytes(self._buffer[:end]).partition(b' ')
            if not size.isdigit() or int(size) > MAX_REPORT_BYTES:
                raise Broken(f'a report of {size!r} bytes')
            stop = end + 1 + int(size)
            if len(self._buffer) < stop:
                return
            payload = bytes(self._buffer[end + 1:stop])
            del self._buffer[:stop]
            yield word.decode('ascii', 'replace'), payload

    def signal_others(self, number):
        """Sends a signal to what it started: the rest of its process group."""
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if int(pid) != self.pid and os.getpgid(int(pid)) == self.pid:
                    os.kill(int(pid), number)
            except ProcessLookupError:
                pass  # it has ended

    def wait(self):
        """Its exit status, or the negative number of the signal that ended it."""
        _, status = os.waitpid(self.pid, 0)
        self.stdin.close()
        os.close(self._commands)
        os.close(self.reports)
        return os.waitstatus_to_exitcode(status)

    def _send(self, data):
        try:
            while data:
                data = data[os.write(self._commands, data):]
        except BrokenPipeError:
            pass  # its end is noticed where its reports end


def _become(argv, environ, stdin, commands, reports, own_group):
    """Runs in the forked child and never returns."""
    try:
        if own_group:
            os.setpgid(0, 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        be_killed_first()
        arrange(stdin, commands, reports)
        os.execve(argv[0], argv, environ)
    except BaseException as problem:  # nothing may unwind into the driver
        os.write(2, f'{argv[0]}: {problem}\n'.encode('utf-8', 'replace'))
    finally:
        os._exit(127)


def arrange(*descriptors):
    """Makes `descriptors` 0, 3, 4, ... of the program that will be run."""
    targets = (0, COMMANDS_FD, REPORTS_FD)
    copies = [os.dup(fd) for fd in descriptors]
    while any(fd in targets for fd in copies):
        copies = [os.dup(fd) if fd in targets else fd for fd in copies]
    for target, fd in zip(targets, copies):
        os.dup2(fd, target, inheritable=True)
