"""A folder as a tar archive (POSIX.1-2001 pax), in pieces as they are read."""

import os
import stat
import tarfile

from . import folder

CHUNK_BYTES = 128 * 1024
_END = bytes(2 * tarfile.BLOCKSIZE)


def pieces(opened, name):
    """Yields the archive of the folder with descriptor `opened`; links as links, neither FIFOs nor sockets."""
    yield _header(name, os.fstat(opened))
    for here, path, entry in folder.walk(opened, f'{name}/'):
        try:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                yield _header(path + entry.name, found, os.readlink(entry.name, dir_fd=here))
            elif stat.S_ISDIR(found.st_mode):
                yield _header(path + entry.name, found)
            elif stat.S_ISREG(found.st_mode):
                file = os.open(entry.name, folder.FILE, dir_fd=here)
            else:
                continue
        except OSError:
            continue  # it vanished, or may not be read
        if stat.S_ISREG(found.st_mode):
            try:
                found = os.fstat(file)
                if stat.S_ISREG(found.st_mode):
                    yield _header(path + entry.name, found)
                    yield from _content(file, found.st_size)
            finally:
                os.close(file)
    yield _END


def _header(name, found, target=''):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if stat.S_ISDIR(found.st_mode) else tarfile.SYMTYPE if target else tarfile.REGTYPE
    info.linkname = target
    info.size = found.st_size if info.type == tarfile.REGTYPE else 0
    info.mode = stat.S_IMODE(found.st_mode) & 0o777
    info.mtime = found.st_mtime_ns // 1_000_000_000
    return info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape')


def _content(file, size):
    """Exactly as much as the header said: what is missing by now is zeros, as tar(1) does it."""
    offset = 0
    while offset < size:
        wanted = min(CHUNK_BYTES, size - offset)
        data = os.pread(file, wanted, offset) or bytes(wanted)
        offset += len(data)
        yield data
    if size % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - size % tarfile.BLOCKSIZE)
