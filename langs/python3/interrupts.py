"""When SIGINT raises KeyboardInterrupt: while user code runs, and never half-way through a message."""

# Not `signal`, whose functions turn every handler into an enumeration's member and back, ten times per execution.
import _signal as signal


def _ignore(number, frame):
    # A Python function and not SIG_IGN, which programs started by a background thread would inherit.
    pass


def allow():
    """From here on SIGINT raises KeyboardInterrupt. The default handler, as asyncio looks for it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse():
    """From here on SIGINT does nothing."""
    signal.signal(signal.SIGINT, _ignore)


class Held:
    """Context manager: a SIGINT that arrives inside takes effect at its end. Outside the main thread, where it gives False, it does nothing."""

    def __enter__(self):
        self._arrived = False
        try:
            self._handler = signal.signal(signal.SIGINT, self._note)
        except ValueError:  # not the main thread, where no handler ever runs
            self._handler = None
        return self._handler is not None

    def _note(self, number, frame):
        self._arrived = True

    def __exit__(self, *exception):
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._arrived:
                signal.raise_signal(signal.SIGINT)
