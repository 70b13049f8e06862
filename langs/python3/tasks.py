"""Top-level await: one event loop that lives as long as the evaluator."""


class Loop:
    """Runs coroutines on a loop made at first use; tasks left on it go on with the next coroutine."""

    def __init__(self):
        self._loop = None

    def run(self, coroutine):
        import asyncio
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            self._cancel(task, asyncio.CancelledError)
            raise

    def _cancel(self, task, cancelled):
        """Lets an interrupted task clean up. A second interrupt ends the wait."""
        if task.done():
            return
        task.cancel()
        try:
            self._loop.run_until_complete(task)
        except (cancelled, Exception):
            pass  # it is the interrupt that is reported
