"""Which files an execution created or changed."""

import stat
import time

from . import folder

# One look: entries, files told of, and time; what is beyond is said to be there.
MAX_LOOKED = 5000
MAX_FILES = 200
MAX_SECONDS = 0.02
_CLOCK_REALTIME_COARSE = 5  # linux/time.h: the clock of change times
_SECOND = 1_000_000_000


class Changes:
    """Tells by change times (stat(2), which a program cannot set), below the folder of descriptor `root`; hidden ones are left out."""

    def __init__(self, root):
        self._root = root
        self._since = 0
        # Told of, or written by the server: a change time may not differ from that of what an execution does next.
        self._known = set()

    def begin(self):
        self._since = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
        self._known = {(inode, changed) for inode, changed in self._known if changed > self._since - _SECOND}

    def written(self, found):
        """The server wrote a file, and this is its stat."""
        self._known.add((found.st_ino, found.st_ctime_ns))

    def end(self):
        """{files, moreFiles} since `begin`."""
        files, looked, until = [], 0, time.monotonic() + MAX_SECONDS
        entries = folder.walk(self._root, '', skip=lambda name: name.startswith('.') or name == '__pycache__')
        try:
            for _, path, entry in entries:
                looked += 1
                if looked > MAX_LOOKED or len(files) == MAX_FILES or time.monotonic() > until:
                    return {'files': files, 'moreFiles': True}
                found = entry.stat(follow_symlinks=False)
                if found.st_ctime_ns < self._since or not stat.S_ISREG(found.st_mode):
                    continue
                if (found.st_ino, found.st_ctime_ns) not in self._known:
                    files.append({'path': path + entry.name, 'size': found.st_size})
                    self.written(found)
        except (OSError, folder.Refused):
            return {'files': files, 'moreFiles': True}
        finally:
            entries.close()
        return {'files': files, 'moreFiles': False}
