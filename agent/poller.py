"""What the agent waits for."""

import select

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Poller:
    """epoll that is told what is wanted each time and asks the kernel only when that changed."""

    def __init__(self):
        self._epoll = select.epoll()
        self._masks = {}

    def wait(self, wanted, timeout):
        """Waits for any of `wanted` (descriptor -> mask); the set of those ready."""
        for fd, mask in wanted.items():
            known = self._masks.get(fd)
            if known is None:
                self._epoll.register(fd, mask)
            elif known != mask:
                self._epoll.modify(fd, mask)
            self._masks[fd] = mask
        ready = {fd for fd, _ in self._epoll.poll(timeout)}
        # What is not wanted for now costs nothing until something comes of it.
        for fd in ready - wanted.keys():
            self.forget(fd)
        return ready & wanted.keys()

    def forget(self, fd):
        """Must come before `fd` is closed: its number may be given out again."""
        if self._masks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
