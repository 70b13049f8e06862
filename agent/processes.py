"""Processes: what the kernel is asked about the agent and its descendants."""

import _signal as signal
import ctypes
import os

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


# Of any process, as Linux is delivered (proc(5), nr_open).
_MAX_DESCRIPTORS = 1 << 20
# Of 1000: an evaluator may raise it for what it starts.
_OOM_SCORE = 900


def soften(last_descriptor, goes_on_as_python):
    """Undoes `harden` in a forked child, and makes it what a memory kill hits before this process. Descriptors above the last are closed."""
    signal.set_wakeup_fd(-1)
    # Before others may look into this process, and take what it has of the agent's.
    os.closerange(last_descriptor + 1, _MAX_DESCRIPTORS)
    kept = (signal.SIGPIPE, signal.SIGXFSZ) if goes_on_as_python else ()
    for number in (*_IGNORED, signal.SIGCHLD):
        if number not in kept:
            signal.signal(number, signal.SIG_DFL)
    set_dumpable(True)
    try:
        # Not `open`, which dirties a megabyte of what is shared with the agent.
        fd = os.open('/proc/self/oom_score_adj', os.O_WRONLY)
    except OSError:
        return  # without /proc the kernel's own choice stands
    try:
        os.write(fd, b'%d' % _OOM_SCORE)
    except OSError:
        pass
    finally:
        os.close(fd)


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
