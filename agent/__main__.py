"""Starts the agent: agent.pyz --listen-fd N --evaluator JSON [--lang-folder PATH].

Here and below `_socket` and `_signal`: `socket` and `signal` add enumerations to them, half a megabyte that every session would pay for.
"""

import _socket
import importlib
import json
import os
import sys

from cob_agent import processes
from cob_agent.agent import Agent


def main(argv):
    options = dict(zip(argv[::2], argv[1::2]))
    spec = json.loads(options['--evaluator'])
    listener = _socket.socket(fileno=int(options['--listen-fd']))
    os.set_inheritable(listener.fileno(), False)
    if spec['start'] == 'fork':
        # Loaded before forking, so that every evaluator starts with it and shares its memory.
        importlib.import_module(f'cob_lang.{spec["module"]}')
    Agent(listener, spec, options.get('--lang-folder', '/opt/cob/lang')).run()


processes.harden()
main(sys.argv[1:])
