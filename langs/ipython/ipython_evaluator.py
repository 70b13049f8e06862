"""The ipython evaluator: runs cells in IPython's shell, on the main thread, until the agent is gone."""

import os
import sys

from . import interrupts, shell as shells
from .display import prepare_environ
from .evaluator import Evaluator, _guarded
from .imports import ImportHook

MAX_MATCHES = 500


def main(channel, spec):
    """Called in a process forked from the agent; returns when the agent is gone."""
    interrupts.refuse()
    IPythonEvaluator(channel).run()


class IPythonEvaluator(Evaluator):
    """python3's evaluator with IPython's shell in the place of the interpreter's loop."""

    def _begin(self, module):
        sys.meta_path.insert(0, ImportHook({
            'getpass': self._asker.patch_getpass,
            'matplotlib': self._display.patches['matplotlib'],
            'cob_lang.figures': self._display.patches['cob_lang.figures'],
        }))
        prepare_environ(os.environ)
        os.environ.setdefault('IPYTHONDIR', '/tmp/.ipython')
        self._shell = shells.make(module)
        self._shell.emit = self._emit

    def _rehearse(self):
        """It would stand in the history."""

    def _restore(self):
        self._streams.restore()
        self._asker.restore()

    def _run(self, code):
        result = []
        problem = _guarded(lambda: result.append(self._shell.run_cell(code, store_history=True)))
        if problem is not None:
            return self._report(problem)
        problem = result[0].error_before_exec or result[0].error_in_exec
        if problem is None or isinstance(problem, SystemExit) and problem.code in (None, 0):
            return 'ok'
        return 'interrupted' if isinstance(problem, KeyboardInterrupt) else 'error'

    def _look(self, method, code, cursor):
        if method == 'inspect':
            from IPython.utils.tokenutil import token_at_cursor
            try:
                data = self._shell.object_inspect_mime(token_at_cursor(code, cursor))
            except KeyError:
                return {}
            return {'found': True, 'data': {'text/plain': data['text/plain']}}
        from IPython.core.completer import provisionalcompleter, rectify_completions
        with provisionalcompleter():
            found = list(rectify_completions(code, self._shell.Completer.completions(code, cursor)))[:MAX_MATCHES]
        if not found:
            return {}
        matches = [{'text': match.text, **({'type': match.type} if match.type else {})} for match in found]
        return {'matches': matches, 'start': found[0].start, 'end': found[0].end}
