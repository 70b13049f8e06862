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
        masks = self._masks
        for fd, mask in wanted.items():
            if masks.get(fd) != mask:
                tell = self._epoll.modify if fd in masks else self._epoll.register
                tell(fd, mask)
                masks[fd] = mask
        ready = set()
        for fd, _ in self._epoll.poll(timeout):
            if fd in wanted:
                ready.add(fd)
            else:
                # What is not wanted for now costs nothing until something comes of it.
                self.forget(fd)
        return ready

    def forget(self, fd):
        """Must come before `fd` is closed: its number may be given out again."""
        if self._masks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
