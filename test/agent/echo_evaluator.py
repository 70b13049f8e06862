"""A tiny evaluator that is started as a program: says back what it is told to run."""

import json
import os
import socket
import sys

channel = socket.socket(fileno=3)


def send(message):
    payload = json.dumps(message).encode()
    channel.sendall((len(payload) + 1).to_bytes(4, 'big') + b'\0' + payload)


def receive(size):
    data = b''
    while len(data) < size:
        chunk = channel.recv(size - len(data))
        if not chunk:
            sys.exit(0)
        data += chunk
    return data


send({'type': 'ready'})
while True:
    frame = receive(int.from_bytes(receive(4), 'big'))
    message = json.loads(frame[1:])
    if message['method'] == 'configure':
        os.environ.update(message['params']['environ'])
        send({'type': 'reply', 'id': message['id']})
    elif message['method'] == 'execute':
        print(message['params']['code'], os.environ.get('GREETING', ''), flush=True)
        send({'type': 'tomorrow', 'id': message['id']})
        send({'type': 'execute_reply', 'id': message['id'], 'status': 'ok', 'durationMs': 1})
