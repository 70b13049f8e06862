"""What the agent's children still have of it when the session's code may first look into them."""

import os
import socket
import sys
import unittest

from client import bundle

sys.path.insert(0, str(bundle()))
from cob_agent import evaluator, processes, terminal  # noqa: E402


def when_dumpable(become):
    """The descriptors that a child which runs `become` has when it lets itself be looked into."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        def tell(dumpable):
            open_now = [fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')]
            os.write(2, repr((dumpable, open_now)).encode())
            os._exit(0)
        processes.set_dumpable = tell
        become(theirs)
        os._exit(1)
    theirs.close()
    os.waitpid(pid, 0)
    with ours:
        return ours.recv(4096)


class ChildrenTest(unittest.TestCase):
    def setUp(self):
        # As the agent has one to the server.
        self.secret = open('/dev/null')
        self.addCleanup(self.secret.close)

    def test_nobody_can_look_into_a_terminal_while_it_has_what_is_the_agents(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)

        def become(theirs):
            dup2 = os.dup2
            os.dup2 = lambda fd, target, *rest: dup2(theirs.fileno() if target == 2 else fd, target, *rest)
            terminal._become_shell(slave, {})
        self.assertEqual(when_dumpable(become), b'(True, [0, 1, 2])')

    def test_nobody_can_look_into_an_evaluator_while_it_has_what_is_the_agents(self):
        def become(theirs):
            channel, _ = socket.socketpair()
            evaluator._become_evaluator({'start': 'exec', 'argv': ['/bin/true']}, '/', channel, os.dup(1), theirs.fileno())
        self.assertEqual(when_dumpable(become), b'(True, [0, 1, 2, 3])')


if __name__ == '__main__':
    unittest.main()
