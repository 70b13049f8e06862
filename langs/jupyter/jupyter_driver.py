"""Drives any Jupyter kernel: starts what its kernelspec says, and speaks its protocol."""

import json
import os
import re
import shutil
import signal
import time

import zmq

from . import bundles
from .messages import Connection
from .session import Session, be_killed_first

FOLDER = '/tmp/.cob-jupyter'
START_S = 25
# Characters of output in one event.
PIECE = 256 * 1024
# How often a kernel that says nothing is looked at.
LOOK_MS = 100
# What a kernel may take to say that it is idle, once it has answered.
IDLE_S = 2
# What a pipe holds, in bytes.
PIPE_SIZE = 65536
_COLOURS = re.compile(r'\x1b\[[0-9;]*m')
_CLASS = re.compile(r"^<class '(?:.*\.)?(\w+)'>$")


def main(channel, spec):
    """Called in a process forked from the agent; returns when the agent is gone."""
    Jupyter(channel, spec['options']['kernelspec']).run()


class Jupyter(Session):
    """`kernelspec`: the folder of one (https://jupyter-client.readthedocs.io/en/stable/kernels.html)."""

    def __init__(self, channel, kernelspec):
        super().__init__(channel)
        self._folder = kernelspec
        with open(os.path.join(kernelspec, 'kernel.json'), encoding='utf-8') as file:
            self._spec = json.load(file)
        self._kernel = None
        self._told = False

    def configured(self):
        if self._kernel is None:
            self._start()

    # The kernel's life.

    def _start(self):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        file = os.path.join(FOLDER, 'connection.json')
        self._connection = Connection(file)
        # Held open at both ends: a kernel that closes its own would make the other ready to be read for ever.
        self._output, self._writer = os.pipe()
        os.set_blocking(self._output, False)
        argv = [word.replace('{connection_file}', file).replace('{resource_dir}', self._folder) for word in self._spec['argv']]
        # As Jupyter has it: a kernel of Python runs with the Python there is.
        if re.fullmatch(r'python[0-9.]*', argv[0]):
            argv[0] = '/usr/bin/python3'
        own = {'IPYTHONDIR': '/tmp/.ipython', 'JUPYTER_RUNTIME_DIR': FOLDER, 'TERM': 'dumb'}
        environ = {**self.environ, **own, **self._spec.get('env', {})}
        self._kernel = os.fork()
        if self._kernel == 0:
            _become(argv, environ, self._writer)
        self._await_start()

    def _await_start(self):
        # Asked again and again, until what it publishes arrives, too: a subscription takes its time. Not faster than it is answered:
        # kernels publish two messages for each, and drop what their queue has no room for.
        asked, answered, subscribed, said = set(), False, False, b''
        deadline, ask = time.monotonic() + START_S, 0
        while time.monotonic() < deadline and not self._has_ended():
            if not self._connection.connect():
                time.sleep(LOOK_MS / 10_000)
                said = (said + self._read_output())[-PIPE_SIZE:]
                continue
            if time.monotonic() >= ask:
                asked.add(self._connection.send(self._connection.shell, 'kernel_info_request', {}))
                ask = time.monotonic() + LOOK_MS / 1000
            said = (said + self._poll(LOOK_MS))[-PIPE_SIZE:]
            message = self._connection.receive(self._connection.shell)
            answered = answered or bool(message and message[1] in asked)
            message = self._connection.receive(self._connection.iopub)
            subscribed = subscribed or bool(message and message[1] in asked)
            if answered and subscribed:
                return
        os.write(2, b'the kernel did not start\n')
        _write_all(1, said + self._read_output())
        os._exit(1)

    def _has_ended(self):
        pid, status = os.waitpid(self._kernel, os.WNOHANG)
        if pid:
            self._status = os.waitstatus_to_exitcode(status)
        return pid != 0

    def _ended(self):
        """Its end is this process's; unless it was asked to end, then there is a new one."""
        _write_all(1, self._read_output())
        code = self._status
        self._connection.close()
        os.close(self._output)
        os.close(self._writer)
        if code < 0 and not self.interrupted:
            if -code != signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
            signal.pause()
        self.error('SystemExit', f'exit status {code}: the kernel has ended; a new one has started, and variables are gone')
        self._start()
        return 'interrupted' if self.interrupted else 'error'

    def on_interrupt(self):
        if self._kernel is not None and self._spec.get('interrupt_mode') == 'message':
            self._connection.send(self._connection.control, 'interrupt_request', {})

    # Executions.

    def execute(self, code, count):
        if self._kernel is None:
            self._start()
        self._told = False
        asked = self._connection.send(self._connection.shell, 'execute_request', {
            'code': code, 'silent': False, 'store_history': True, 'user_expressions': {}, 'allow_stdin': True, 'stop_on_error': False,
        })
        reply, idle, deadline = None, False, None
        while reply is None or not idle and time.monotonic() < deadline:
            self._poll(LOOK_MS)
            idle = self._publish(asked) or idle
            self._ask_for(asked)
            message = self._connection.receive(self._connection.shell)
            if message and message[1] == asked and message[0] == 'execute_reply':
                reply, deadline = message[2], time.monotonic() + IDLE_S
            if self._has_ended():
                self._publish(asked)
                return self._ended()
        return self._report(reply)

    def _report(self, reply):
        for payload in reply.get('payload') or ():
            if isinstance(payload, dict) and payload.get('source') == 'page':
                self._display('display_data', payload)
        if reply.get('status') == 'ok':
            return 'ok'
        if not self._told:
            self._tell_error(reply)
        return 'interrupted' if self.interrupted else 'error'

    def _publish(self, asked):
        """Passes on what was published; True once the kernel is idle again."""
        while True:
            message = self._connection.receive(self._connection.iopub)
            if message is None:
                return False
            kind, parent, content, _ = message
            if parent != asked:
                continue
            if kind == 'status' and content.get('execution_state') == 'idle':
                return True
            if kind == 'stream':
                name = 'stderr' if content.get('name') == 'stderr' else 'stdout'
                text = str(content.get('text', ''))
                for start in range(0, len(text), PIECE):
                    self.emit('stream', name=name, text=text[start:start + PIECE])
            elif kind in ('display_data', 'update_display_data', 'execute_result'):
                self._display(kind, content)
            elif kind == 'clear_output':
                self.emit('clear_output', wait=bool(content.get('wait')))
            elif kind == 'error':
                self._tell_error(content)

    def _display(self, kind, content):
        fields = {'data': bundles.fit(dict(content.get('data') or {})), 'metadata': bundles.fit_metadata(content.get('metadata') or {})}
        name = (content.get('transient') or {}).get('display_id')
        if name is not None and kind != 'execute_result':
            fields['displayId'] = str(name)[:256]
        elif kind == 'update_display_data':
            kind = 'display_data'
        self.emit(kind, **fields)

    def _tell_error(self, content):
        self._told = True
        name, value = str(content.get('ename', 'Error')), str(content.get('evalue', ''))
        # As xeus-python has it.
        name = _CLASS.sub(r'\1', name)
        trace = [_COLOURS.sub('', str(line)) for line in content.get('traceback') or ()]
        before = name in ('SyntaxError', 'IndentationError', 'TabError') or 'PARSE ERROR' in name
        self.error(name or 'Error', value, [f'{line}\n' for line in '\n'.join(trace).split('\n')], before)

    def _ask_for(self, asked):
        message = self._connection.receive(self._connection.stdin)
        if not message or message[0] != 'input_request' or message[1] != asked:
            return
        _, _, content, header = message
        self.ask(str(content.get('prompt', '')), lambda text: self._connection.send(
            self._connection.stdin, 'input_reply', {'value': text}, header,
        ), bool(content.get('password')))

    def _poll(self, timeout):
        """Waits for what comes next; returns what was written past the protocol meanwhile, which unread would end every wait at once."""
        poller = zmq.Poller()
        for sock in (self._connection.shell, self._connection.iopub, self._connection.stdin, self._output):
            poller.register(sock, zmq.POLLIN)
        if self._give:
            poller.register(self._channel.fileno(), zmq.POLLIN)
        ready = dict(poller.poll(timeout))
        if self._give and self._channel.fileno() in ready:
            give, self._give = self._give, None
            give(self._channel.receive()['params']['text'])
        return self._read_output()

    def _read_output(self):
        """
        What was written past the protocol, all that the pipe holds. Dropped, as Jupyter does, for kernels that gather it themselves write
        it twice; shown only where it may tell why a kernel has ended.
        """
        try:
            return os.read(self._output, PIPE_SIZE)
        except BlockingIOError:
            return b''

    # Questions.

    def look(self, method, code, cursor):
        kind = 'complete_request' if method == 'complete' else 'inspect_request'
        details = {'code': code, 'cursor_pos': cursor, **({} if method == 'complete' else {'detail_level': 0})}
        asked = self._connection.send(self._connection.shell, kind, details)
        self.interrupted = False
        while not self.interrupted and not self._has_ended():
            self._poll(LOOK_MS)
            message = self._connection.receive(self._connection.shell)
            if message and message[1] == asked:
                return self._answer(method, message[2], cursor)
        return {}

    @staticmethod
    def _answer(method, content, cursor):
        if content.get('status') != 'ok':
            return {}
        if method == 'inspect':
            data = {mime: _COLOURS.sub('', str(text)) for mime, text in (content.get('data') or {}).items()}
            return {'found': bool(content.get('found')), 'data': bundles.fit(data)}
        return {
            'matches': [{'text': str(text)[:4096]} for text in content.get('matches', [])[:500]],
            'start': content.get('cursor_start', cursor), 'end': content.get('cursor_end', cursor),
        }


def _write_all(file, data):
    while data:
        data = data[os.write(file, data):]


def _become(argv, environ, output):
    """Runs in the forked child and never returns."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        be_killed_first()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execvpe(argv[0], argv, environ)
    except BaseException as problem:  # nothing may unwind into the driver
        os.write(2, f'{argv[0]}: {problem}\n'.encode('utf-8', 'replace'))
    finally:
        os._exit(127)
