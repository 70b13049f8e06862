"""An execution that the agent goes through alone, before there is one: by then the memory that it writes to is its own.

After a fork every page is shared with the evaluator until one of them writes to it. In CPython whatever is looked at is written to, its
count of references: some forty pages for an execution, a third of what the agent takes for it. Nobody waits while the evaluator gets ready.
"""

import _socket
import os

from . import frames, messages
from .changes import Changes
from .evaluator import Evaluator
from .kernel import Kernel
from .link import Link
from .output import Output
from .ring import Ring

_ID = '-' * 36


def rehearse(poller, root):
    """Leaves nothing behind. `root` is the descriptor of the folder whose files an execution may change."""
    link, server = _socket.socketpair()
    channel, evaluator = _socket.socketpair()
    pipes = os.pipe(), os.pipe()
    link.setblocking(False)
    ring = Ring()
    actor = Evaluator(None, channel, tuple(Output(name, reading) for name, (reading, _) in zip(('stdout', 'stderr'), pipes)))
    kernel = Kernel(ring, lambda: actor, Changes(root), False)
    stage = Link(link, frames.FrameDecoder())
    try:
        kernel.start()
        stage.attach({'type': 'attached'}, 0)
        server.sendall(frames.encode({'id': _ID, 'method': 'execute', 'params': {'code': '0'}}))
        for message in stage.receive():
            kernel.obey(poller, *messages.parse_request(message))
        for event in (
            {'type': 'execute_result', 'id': _ID, 'sync': False, 'data': {'text/plain': '0'}, 'metadata': {}},
            {'type': 'execute_reply', 'id': _ID, 'sync': False, 'status': 'ok', 'durationMs': 0.1},
        ):
            evaluator.sendall(frames.encode(event))
            wanted = {}
            kernel.want(wanted)
            kernel.move(wanted.keys())
            stage.flush(ring)
    finally:
        actor.close()
        stage.close()
        server.close()
        evaluator.close()
        for _, writing in pipes:
            os.close(writing)
