"""Starts the agent: agent.pyz --listen-fd N --evaluator JSON [--lang-folder PATH]."""

import importlib
import json
import socket
import sys

from cob_agent import processes
from cob_agent.agent import Agent


def main(argv):
    options = dict(zip(argv[::2], argv[1::2]))
    spec = json.loads(options['--evaluator'])
    listener = socket.socket(fileno=int(options['--listen-fd']))
    listener.set_inheritable(False)
    if spec['start'] == 'fork':
        # Loaded before forking, so that every evaluator starts with it and shares its memory.
        importlib.import_module(f'cob_lang.{spec["module"]}')
    Agent(listener, spec, options.get('--lang-folder', '/opt/cob/lang')).run()


processes.harden()
main(sys.argv[1:])
