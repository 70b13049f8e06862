"""The numbered events the server has not acknowledged yet, and the last ones that it has."""

import time
from collections import deque

from . import frames

EVENT_WINDOW_BYTES = 1024 * 1024
# Of what is acknowledged: a new server has read none of it, and clients of the old one perhaps not all.
TAIL_BYTES = 1024 * 1024
# What an event costs besides its frame.
_ENTRY_BYTES = 128
_NOT_OUTPUT = ('reply', 'fail', 'status')


class Ring:
    """Keeps every event from its creation until its acknowledgement, and then as long as there is room.

    `full` asks the agent to stop taking output; what may be added all the same (replies, an
    evaluator's last words) is bounded by the size of pipes and socket buffers.
    """

    def __init__(self):
        self._window = deque()
        self._tail = deque()
        self._bytes = 0
        self._tail_bytes = 0
        self._last_output = time.monotonic()
        self.next_seq = 1
        # The last execution of which events are gone, and how many.
        self.cut = None

    @property
    def full(self):
        return self._bytes >= EVENT_WINDOW_BYTES

    @property
    def first_seq(self):
        """Of the oldest event that is kept."""
        return self.next_seq - len(self._window) - len(self._tail)

    @property
    def quiet_ms(self):
        """Since the last output."""
        return int((time.monotonic() - self._last_output) * 1000)

    def add(self, event_type, request_id, fields):
        """Numbers an event and keeps it; FrameError when it is too large to be sent."""
        frame = frames.encode({'seq': self.next_seq, 'type': event_type, 'id': request_id, **fields})
        if event_type in _NOT_OUTPUT:
            request_id = None
        else:
            self._last_output = time.monotonic()
        self._window.append((frame, request_id))
        self._bytes += len(frame)
        self.next_seq += 1

    def drop(self, through):
        """The server has the events up to and including number `through`."""
        first = self.next_seq - len(self._window)
        for _ in range(min(through, self.next_seq - 1) - first + 1):
            entry = self._window.popleft()
            self._bytes -= len(entry[0])
            self._tail.append(entry)
            self._tail_bytes += len(entry[0]) + _ENTRY_BYTES
        while self._tail_bytes > TAIL_BYTES:
            frame, execution = self._tail.popleft()
            self._tail_bytes -= len(frame) + _ENTRY_BYTES
            if execution is not None:
                known = self.cut is not None and self.cut['id'] == execution
                self.cut = {'id': execution, 'count': self.cut['count'] + 1 if known else 1}

    def batch(self, after, size):
        """Frames following number `after`, at least one and about `size` bytes: (bytes, number of the last)."""
        window, first = self._window, self.next_seq - len(self._window)
        if self._tail and after + 1 < first:
            window, first = self._tail, self.first_seq
        start = max(after + 1 - first, 0)
        chosen, total = [], 0
        for index in range(start, len(window)):
            chosen.append(window[index][0])
            total += len(chosen[-1])
            if total >= size:
                break
        return b''.join(chosen), first + start + len(chosen) - 1
