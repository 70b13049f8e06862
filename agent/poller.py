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
        for fd in [fd for fd in self._masks if fd not in wanted]:
            self.forget(fd)
        for fd, mask in wanted.items():
            known = self._masks.get(fd)
            if known is None:
                self._epoll.register(fd, mask)
            elif known != mask:
                self._epoll.modify(fd, mask)
            self._masks[fd] = mask
        return {fd for fd, _ in self._epoll.poll(timeout)}

    def forget(self, fd):
        """Must come before `fd` is closed: its number may be given out again."""
        if self._masks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
