"""input(), getpass() and sys.stdin: text that is asked of whoever started the execution."""

import builtins
import io
import select
import sys

END_OF_FILE = '\x04'


def _open():
    """Descriptor 0, where the agent notices who waits. A line at a time, so that a program that is started gets the next one."""
    raw = io.FileIO(0, closefd=False)
    raw.name = '<stdin>'
    stream = io.TextIOWrapper(io.BufferedReader(raw), 'utf-8', 'strict')
    stream.mode = 'r'
    return stream


class Asker:
    """Puts questions on the channel. `execution()` is the id of the running execution or None."""

    def __init__(self, channel, held, execution):
        self._channel = channel
        self._held = held
        self._execution = execution
        self._stdin = None
        self._builtin_input = builtins.input

    def restore(self):
        """Puts sys.stdin and input() in place."""
        if self._stdin is None or self._stdin.closed:
            self._stdin = _open()
        sys.stdin = sys.__stdin__ = self._stdin
        builtins.input = self.input

    def ask(self, prompt, password):
        """The text somebody gives; EOFError where nobody can be asked."""
        if not self._channel.mine or self._execution() is None:
            raise EOFError('no one to ask: this code does not run in an execution')
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        with self._held():
            self._channel.discard()
            self._channel.send({
                'type': 'input_request', 'id': self._execution(), 'prompt': prompt[:65536], 'password': password,
            })
        # An interrupt may end this wait, but not the reading of the answer: half a frame would be lost.
        poll.poll()
        with self._held():
            message = self._channel.receive()
        if message is None:
            raise EOFError
        return message['params']['text']

    def input(self, prompt='', /):
        """Asks for a line of text and returns it. The prompt goes with the question, not to stdout."""
        if sys.stdin is not self._stdin and self._channel.mine:
            return self._builtin_input(prompt)
        sys.stdout.flush()
        return self._one_line(self.ask(str(prompt), False))

    def patch_getpass(self, module):
        def getpass(prompt='Password: ', stream=None, **_):
            """Asks for a password and returns it."""
            return self._one_line(self.ask(str(prompt), True))

        module.getpass = getpass

    @staticmethod
    def _one_line(text):
        if text == END_OF_FILE:
            raise EOFError
        return text[:-1] if text.endswith('\n') else text
