"""File operations of the server: reading, listing, archiving, writing and removing below the working directory."""

import os
import stat

from . import folder
from .folder import Refused

CHUNK_BYTES = 128 * 1024
# Of one listing: entries, and bytes of their names as they are sent at worst.
MAX_ENTRIES = 10_000
MAX_NAMES_BYTES = 4 * 1024 * 1024
# Entries removed between two looks at everything else.
REMOVED_AT_ONCE = 256
_TEMPORARY = '.cob-upload-'


class Files:
    """What one connection does with files. `request` returns a result, or a generator of pieces that ends with one."""

    def __init__(self, root, on_written):
        self._root = root
        self._on_written = on_written
        self._opened = None
        self._found = None
        self._names = []
        self._upload = None

    def request(self, method, params):
        """Does what is asked; Refused or OSError."""
        if method == 'open':
            return self._open(params['path'])
        if method == 'write':
            return self._write(params['path'], params['room'])
        if method == 'commit':
            return self._commit()
        if method == 'remove':
            return self._remove(params['path'])
        if self._opened is None:
            raise Refused('refused', 'nothing is open')
        if method == 'read':
            return self._read(params['offset'], params['length'])
        return self._list() if method == 'list' else self._archive()

    def data(self, data):
        """Takes a piece of what is written."""
        if self._upload is None:
            raise Refused('refused', 'nothing is written now')
        self._upload.take(data)

    def close(self):
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None
        if self._upload is not None:
            self._upload.abandon()
            self._upload = None

    def _open(self, names):
        self.close()
        self._names = names
        self._opened, self._found = folder.open_plain(self._root, names)
        found = self._found
        return {
            'kind': folder.kind_of(found.st_mode),
            'size': found.st_size,
            'modified': found.st_mtime_ns // 1_000_000,
            'tag': f'{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}',
        }

    def _read(self, offset, length):
        if not stat.S_ISREG(self._found.st_mode):
            raise Refused('is-a-folder', 'a folder stands there')
        while length > 0:
            data = os.pread(self._opened, min(CHUNK_BYTES, length), offset)
            if not data:
                raise Refused('busy', 'the file became shorter while it was read')
            offset += len(data)
            length -= len(data)
            yield data
        return {}

    def _list(self):
        self._must_be_folder()
        entries, room = [], MAX_NAMES_BYTES
        with os.scandir(self._opened) as found:
            for entry in found:
                room -= 6 * len(entry.name)
                if len(entries) == MAX_ENTRIES or room < 0:
                    return {'entries': sorted(entries), 'truncated': True}
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = folder.kind_of(status.st_mode)
                entries.append([entry.name, kind, status.st_size, status.st_mtime_ns // 1_000_000])
        return {'entries': sorted(entries), 'truncated': False}

    def _archive(self):
        self._must_be_folder()
        from .archive import pieces
        yield from pieces(self._opened, self._names[-1] if self._names else 'work')
        return {}

    def _must_be_folder(self):
        if not stat.S_ISDIR(self._found.st_mode):
            raise Refused('not-a-folder', 'a file stands there')

    def _write(self, names, room):
        self.close()
        if not names:
            raise Refused('is-a-folder', 'that is the working directory itself')
        self._upload = Upload(self._root, names, room)
        return {}

    def _commit(self):
        if self._upload is None:
            raise Refused('refused', 'nothing is written now')
        created, found = self._upload.commit()
        self._upload = None
        self._on_written(found)
        return {'created': created, 'size': found.st_size}

    def _remove(self, names):
        if not names:
            raise Refused('refused', 'the working directory itself stays')
        parent = folder.open_folder(self._root, names[:-1])
        try:
            folder.check(names)
            name = names[-1]
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                yield from _empty(parent, name)
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)
        return {}


def _empty(parent, name):
    inner = os.open(name, folder.FOLDER, dir_fd=parent)
    try:
        count = 0
        for here, _, entry in folder.walk(inner, '', leave=lambda above, left: os.rmdir(left, dir_fd=above)):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=here)
            count += 1
            if count % REMOVED_AT_ONCE == 0:
                yield b''
    finally:
        os.close(inner)


class Upload:
    """A file on its way: it gets its name when it is whole, and an unfinished one vanishes."""

    def __init__(self, root, names, room):
        self._parent = folder.open_folder(root, names[:-1], make=True)
        self._room = room
        self._size = 0
        self._file = None
        self._temporary = _TEMPORARY + os.urandom(8).hex()
        try:
            folder.check(names)
            self._name = names[-1]
            found = folder.look(self._parent, self._name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise Refused('is-a-folder', 'a folder stands there')
            self._created = found is None
            mode = 0o644 if found is None else stat.S_IMODE(found.st_mode) & 0o777
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._temporary, flags, mode, dir_fd=self._parent)
        except BaseException:
            os.close(self._parent)
            raise

    def take(self, data):
        self._size += len(data)
        if self._size > self._room:
            raise Refused('no-space', 'the session may not use more memory', free=self._room)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view):]
        except OSError as problem:
            refusal = Refused.of(problem)
            if refusal.code == 'no-space':
                system = os.fstatvfs(self._file)
                refusal.details['free'] = system.f_bavail * system.f_frsize + self._size - len(view)
            raise refusal from None

    def commit(self):
        """(whether the name is new, the file's stat)"""
        os.rename(self._temporary, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        found = os.fstat(self._file)
        self._close()
        return self._created, found

    def abandon(self):
        try:
            os.unlink(self._temporary, dir_fd=self._parent)
        except OSError:
            pass  # the session's code was quicker
        self._close()

    def _close(self):
        os.close(self._file)
        os.close(self._parent)
