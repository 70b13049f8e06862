"""Messages of the Jupyter protocol over ZeroMQ (https://jupyter-client.readthedocs.io/en/stable/messaging.html)."""

import datetime
import hashlib
import hmac
import json
import os

import zmq

_DELIMITER = b'<IDS|MSG>'
_PORTS = {'shell': 1, 'iopub': 2, 'stdin': 3, 'control': 4, 'hb': 5}
VERSION = '5.3'


class Connection:
    """The client's end of the connections to one kernel; `file` is where the kernel reads how to reach them."""

    def __init__(self, file):
        self._context = zmq.Context()
        self._key = os.urandom(16).hex().encode()
        self._session = os.urandom(16).hex()
        # Not over TCP: ZeroMQ asks for the network's interfaces to listen there, which sandboxes do not tell.
        # A short name: xeus has room for 31 characters of an address.
        self._base = os.path.join(os.path.dirname(file), 'k')
        info = {
            'transport': 'ipc', 'ip': self._base, 'key': self._key.decode(), 'signature_scheme': 'hmac-sha256', 'kernel_name': '',
            **{f'{name}_port': port for name, port in _PORTS.items()},
        }
        with open(file, 'w', encoding='utf-8') as out:
            json.dump(info, out)
        self.shell, self.iopub, self.stdin, self.control = (
            self._socket(kind) for kind in (zmq.DEALER, zmq.SUB, zmq.DEALER, zmq.DEALER)
        )
        self.iopub.setsockopt(zmq.SUBSCRIBE, b'')
        self._unconnected = {'shell': self.shell, 'iopub': self.iopub, 'stdin': self.stdin, 'control': self.control}

    def _socket(self, kind):
        sock = self._context.socket(kind)
        sock.linger = 0
        # The kernel answers on the channel of input to whom it knows from the shell's.
        sock.setsockopt(zmq.IDENTITY, self._session.encode())
        # A kernel that publishes faster than it is read has to wait; nothing is dropped here.
        sock.setsockopt(zmq.RCVHWM, 0)
        return sock

    def connect(self):
        """Connects to what the kernel listens on by now; True once that is all."""
        for name, sock in tuple(self._unconnected.items()):
            # Some kernels write every address as one of TCP.
            for path in (f'{self._base}-{_PORTS[name]}', f'{self._base}:{_PORTS[name]}'):
                if os.path.exists(path):
                    sock.connect(f'ipc://{path}')
                    del self._unconnected[name]
                    break
        return not self._unconnected

    def send(self, sock, kind, content, parent=None):
        """The id of the message."""
        message_id = os.urandom(16).hex()
        header = {
            'msg_id': message_id, 'session': self._session, 'username': 'cob', 'msg_type': kind, 'version': VERSION,
            'date': datetime.datetime.now(datetime.timezone.utc).isoformat(),
        }
        parts = [json.dumps(part).encode('utf-8', 'surrogatepass') for part in (header, parent or {}, {}, content)]
        sock.send_multipart([_DELIMITER, self._sign(parts), *parts])
        return message_id

    def receive(self, sock):
        """(type, id of the parent, content, header) of a message that has arrived, None without one or where it is none."""
        try:
            frames = sock.recv_multipart(zmq.NOBLOCK)
            start = frames.index(_DELIMITER) + 1
            signature, parts = frames[start], frames[start + 1:start + 5]
            if not hmac.compare_digest(signature, self._sign(parts)):
                return None
            header, parent, _, content = (json.loads(part) for part in parts)
            return header['msg_type'], parent.get('msg_id'), content, header
        except (zmq.Again, ValueError, KeyError, AttributeError, IndexError):
            return None

    def _sign(self, parts):
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            digest.update(part)
        return digest.hexdigest().encode()

    def close(self):
        self._context.destroy(linger=0)
