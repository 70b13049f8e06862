"""The evaluator's standard input, where the agent asks for whoever reads it: the evaluator or a program that it started."""

import time

from .asking_pipe import AskingPipe

# How often a reader is looked for: soon at first, then less often, and never for more than a small part of the time.
_FIRST_LOOK_S = 0.002
_LAST_LOOK_S = 0.025
_SHARE = 50
# A reader that is interrupted needs a moment to go away.
_AFTER_INTERRUPT_S = 0.5


class Stdin(AskingPipe):
    def __init__(self):
        super().__init__()
        self._pause = _FIRST_LOOK_S
        self._next = 0

    def begin(self):
        """An execution starts."""
        self.clear()
        self._look_in(_FIRST_LOOK_S)

    def give(self, text):
        super().give(text)
        self._look_in(_FIRST_LOOK_S)

    def interrupted(self):
        self._look_in(_AFTER_INTERRUPT_S)

    def wait(self):
        """The seconds until the next look."""
        return max(0, self._next - time.monotonic())

    def asks(self):
        """True when a look was due and somebody waits."""
        start = time.monotonic()
        if start < self._next:
            return False
        found = self.is_waited_for()
        now = time.monotonic()
        self._pause = max(min(self._pause * 1.5, _LAST_LOOK_S), _SHARE * (now - start))
        self._next = now + self._pause
        return found

    def _look_in(self, seconds):
        self._pause = _FIRST_LOOK_S
        self._next = time.monotonic() + seconds
