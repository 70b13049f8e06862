"""The numbered events the server has not acknowledged yet."""

from collections import deque

from . import frames

EVENT_WINDOW_BYTES = 1024 * 1024


class Ring:
    """Keeps every event from its creation until its acknowledgement.

    `full` asks the agent to stop taking output; what may be added all the same (replies, an
    evaluator's last words) is bounded by the size of pipes and socket buffers.
    """

    def __init__(self):
        self._entries = deque()
        self._bytes = 0
        self.next_seq = 1

    @property
    def full(self):
        return self._bytes >= EVENT_WINDOW_BYTES

    def add(self, event_type, request_id, fields):
        """Numbers an event and keeps it; FrameError when it is too large to be sent."""
        frame = frames.encode({'seq': self.next_seq, 'type': event_type, 'id': request_id, **fields})
        self._entries.append(frame)
        self._bytes += len(frame)
        self.next_seq += 1

    def drop(self, through):
        """Forgets the events up to and including number `through`."""
        first = self.next_seq - len(self._entries)
        for _ in range(min(through, self.next_seq - 1) - first + 1):
            self._bytes -= len(self._entries.popleft())

    def batch(self, after, size):
        """Frames following number `after`, at least one and about `size` bytes: (bytes, number of the last)."""
        start = len(self._entries) - (self.next_seq - 1 - after)
        chosen, total = [], 0
        for index in range(max(start, 0), len(self._entries)):
            frame = self._entries[index]
            chosen.append(frame)
            total += len(frame)
            if total >= size:
                break
        return b''.join(chosen), self.next_seq - len(self._entries) + max(start, 0) + len(chosen) - 1
