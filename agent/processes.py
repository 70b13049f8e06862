"""Processes: what the kernel is asked about the agent and its descendants."""

import ctypes
import os
import signal

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
# Python ignores the last two by itself, to raise OSError instead.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)

_libc = ctypes.CDLL(None, use_errno=True)


def set_dumpable(dumpable):
    """Not dumpable: no process of the same user may look into this one's memory or descriptors."""
    _libc.prctl(_PR_SET_DUMPABLE, 1 if dumpable else 0, 0, 0, 0)


def harden():
    """Makes this process the one that outlives and reaps all others."""
    set_dumpable(False)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


# Of 1000: an evaluator may raise it for what it starts.
_OOM_SCORE = 900


def soften(goes_on_as_python):
    """Undoes `harden` in a forked child, and makes it what a memory kill hits before this process."""
    signal.set_wakeup_fd(-1)
    kept = (signal.SIGPIPE, signal.SIGXFSZ) if goes_on_as_python else ()
    for number in (*_IGNORED, signal.SIGCHLD):
        if number not in kept:
            signal.signal(number, signal.SIG_DFL)
    set_dumpable(True)
    try:
        with open('/proc/self/oom_score_adj', 'w', encoding='ascii') as file:
            file.write(str(_OOM_SCORE))
    except OSError:
        pass  # without /proc the kernel's own choice stands


def close_all_above(last):
    """Closes every descriptor above `last`."""
    try:
        descriptors = [int(name) for name in os.listdir('/proc/self/fd')]
    except OSError:
        descriptors = range(1024)
    for fd in descriptors:
        if fd > last:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that listed the folder


def reap():
    """Yields (pid, wait status) of each child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def kill_descendants():
    """Kills and reaps every process but this one: all of the namespace as its init, else the descendants.

    Orphans become children of this process, so killing children until none are left reaches all.
    """
    if os.getpid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children():
    me = os.getpid()
    try:
        with open(f'/proc/{me}/task/{me}/children', encoding='ascii') as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []  # as init, kill(-1) has reached them already
