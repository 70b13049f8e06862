"""Paths below one folder: no name leads out of it, whatever links and races other processes make.

Each folder on the way is opened by name in the one before (openat(2) with O_NOFOLLOW), so that what was checked is what is used.
"""

import errno
import os
import stat

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Without O_NONBLOCK a FIFO, or a file with a lease on it, would keep this process waiting.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
MAX_NAMES = 128
_CODES = {
    errno.ENOENT: ('not-found', 'there is no such file or folder'),
    errno.ENOTDIR: ('not-a-folder', 'a file stands where a folder is needed'),
    errno.EISDIR: ('is-a-folder', 'a folder stands there'),
    errno.EEXIST: ('exists', 'something stands there already'),
    errno.ENOTEMPTY: ('busy', 'it changes while it is worked on'),
    errno.EAGAIN: ('busy', 'another process has a lease on it'),
    errno.EACCES: ('refused', 'its permissions do not allow that'),
    errno.EPERM: ('refused', 'its permissions do not allow that'),
    errno.ELOOP: ('refused', 'a symbolic link stands there'),
    errno.ENAMETOOLONG: ('refused', 'a name is longer than 255 bytes'),
    errno.EFBIG: ('too-large', 'it would be larger than a file may be here'),
    errno.ENOSPC: ('no-space', 'the file system is full'),
    errno.ENOMEM: ('no-space', 'the memory is full'),
    errno.EDQUOT: ('no-space', 'the file system is full'),
}


class Refused(Exception):
    """What was asked cannot be done: (code, message), and what else the answer is to hold."""

    def __init__(self, code, message, **details):
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details

    @classmethod
    def of(cls, problem):
        """From an OSError."""
        code, message = _CODES.get(problem.errno, ('failed', os.strerror(problem.errno or 0)))
        return cls(code, message)


def check(names):
    """Refuses names that are not plain ones, whoever should have seen that before."""
    if len(names) > MAX_NAMES:
        raise Refused('refused', f'more than {MAX_NAMES} folders deep')
    for name in names:
        if name in ('', '.', '..') or '/' in name or '\0' in name:
            raise Refused('refused', f'{name!r} is no name of a file')


def open_folder(root, names, make=False):
    """A descriptor of the folder that `names` lead to from descriptor `root`; missing ones are made if `make`."""
    check(names)
    folder = os.dup(root)
    try:
        for name in names:
            if make:
                try:
                    os.mkdir(name, 0o755, dir_fd=folder)
                except FileExistsError:
                    pass
            inner = _enter(folder, name)
            os.close(folder)
            folder = inner
        return folder
    except BaseException:
        os.close(folder)
        raise


def _enter(folder, name):
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except NotADirectoryError:
        # What O_DIRECTORY with O_NOFOLLOW says of links, too.
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise Refused('refused', f'{name!r} is a symbolic link') from None
        raise


def look(folder, name):
    """What stands at `name` itself, None where nothing does; refuses all but files and folders."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return must_be_plain(name, found)


def must_be_plain(name, found):
    """`found` if it is a file or a folder."""
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return found
    kind = kind_of(found.st_mode)
    raise Refused('refused', f'{name!r} is a {"symbolic link" if kind == "link" else kind}, neither a file nor a folder')


def kind_of(mode):
    """file, folder, link, fifo, socket or device."""
    for test, kind in (
        (stat.S_ISREG, 'file'), (stat.S_ISDIR, 'folder'), (stat.S_ISLNK, 'link'), (stat.S_ISFIFO, 'fifo'), (stat.S_ISSOCK, 'socket'),
    ):
        if test(mode):
            return kind
    return 'device'


def open_plain(root, names):
    """(descriptor, its stat) of the file or folder that `names` lead to."""
    if not names:
        folder = os.dup(root)
        return folder, os.fstat(folder)
    parent = open_folder(root, names[:-1])
    try:
        check(names)
        if look(parent, names[-1]) is None:
            raise FileNotFoundError(errno.ENOENT, 'no such file')
        opened = os.open(names[-1], FILE, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        return opened, must_be_plain(names[-1], os.fstat(opened))
    except BaseException:
        os.close(opened)
        raise


def walk(folder, path, leave=None, skip=lambda name: False):
    """Yields (folder's descriptor, path, entry) of everything below, a folder before what is in it.

    `leave(parent's descriptor, name)` is called when a folder is done. Links are not followed; what vanishes meanwhile, or is to be
    skipped by its name, is left out.
    """
    stack = [(os.dup(folder), path, iter(_entries(folder)), '')]
    try:
        while stack:
            here, path, entries, name = stack[-1]
            entry = next(entries, None)
            if entry is None:
                os.close(stack.pop()[0])
                if stack and leave:
                    leave(stack[-1][0], name)
                continue
            if skip(entry.name):
                continue
            yield here, path, entry
            if not entry.is_dir(follow_symlinks=False):
                continue
            if len(stack) >= MAX_NAMES:
                raise Refused('refused', f'there are folders more than {MAX_NAMES} deep')
            try:
                inner = os.open(entry.name, FOLDER, dir_fd=here)
            except (FileNotFoundError, NotADirectoryError):
                continue
            stack.append((inner, f'{path}{entry.name}/', iter(_entries(inner)), entry.name))
    finally:
        for here, *_ in stack:
            os.close(here)


def _entries(folder):
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)
