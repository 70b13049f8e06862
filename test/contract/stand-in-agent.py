"""A stand-in for the agent: runs each line of JSON, a Python source, and answers with the repr of its `result`."""
import json
import os
import signal
import socket
import sys


def in_child(work):
    """Runs `work` in a child process that is the first to be killed for memory; returns its wait status."""
    pid = os.fork()
    if pid == 0:
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('1000')
        work()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


listening = socket.socket(fileno=3)
listening.setblocking(True)
names = {'in_child': in_child, 'listening': listening, 'os': os, 'signal': signal, 'socket': socket, 'sys': sys}
while True:
    connection, _ = listening.accept()
    with connection, connection.makefile('rw') as stream:
        try:
            for line in stream:
                try:
                    exec(json.loads(line), names)
                    answer = {'value': names.pop('result', None)}
                except Exception as error:
                    answer = {'error': f'{type(error).__name__}: {error}'}
                stream.write(json.dumps(answer) + '\n')
                stream.flush()
        except OSError:
            pass
