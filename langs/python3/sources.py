"""The text of past executions, so that tracebacks, warnings and `inspect` can show it."""

import sys

MAX_SOURCES = 1000
MAX_CHARACTERS = 8 * 1024 * 1024


class Sources:
    """Keeps the last sources in the form of `linecache`, without importing that until somebody needs it."""

    def __init__(self):
        self._entries = {}
        self._size = 0

    def add(self, filename, code):
        # No modification time: linecache never looks for such a file.
        entry = self._entries[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        self._size += len(code)
        linecache = sys.modules.get('linecache')
        while len(self._entries) > MAX_SOURCES or (self._size > MAX_CHARACTERS and len(self._entries) > 1):
            oldest = next(iter(self._entries))
            self._size -= self._entries.pop(oldest)[0]
            if linecache is not None:
                linecache.cache.pop(oldest, None)
        if linecache is not None:
            linecache.cache[filename] = entry

    def fill(self, linecache):
        """Hands everything kept to the module `linecache`."""
        linecache.cache.update(self._entries)
