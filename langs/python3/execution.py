"""Running code in the namespace of `__main__`, as the interactive interpreter does."""

import _ast
import sys

CO_COROUTINE = 0x80
PYCF_ONLY_AST = 0x400
PYCF_ALLOW_TOP_LEVEL_AWAIT = 0x2000
# From here on the bits of co_flags are those of `from __future__ import ...`.
FUTURE_FLAGS = 0x1FE0000


class NotCompiled(Exception):
    """The code never started to run; the reason is the `__cause__`."""


class Runner:
    """Compiles and runs code. `loop` runs coroutines."""

    def __init__(self, namespace, sources, loop):
        self._namespace = namespace
        self._sources = sources
        self._loop = loop
        self._future = 0
        self._count = 0

    def run(self, code):
        """Runs `code`, the value of a last expression goes to sys.displayhook; NotCompiled or whatever it raises."""
        self._count += 1
        filename = f'<execution {self._count}>'
        self._sources.add(filename, code)
        try:
            statements, expression = self._compile(code, filename)
        except Exception as problem:
            raise NotCompiled from problem
        if statements is not None:
            self._evaluate(statements)
        if expression is not None:
            sys.displayhook(self._evaluate(expression))

    def _compile(self, code, filename):
        tree = self._compiled(code, filename, 'exec', PYCF_ONLY_AST)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
        statements = None
        if tree.body or last is None:
            statements = self._compiled(tree, filename, 'exec')
            self._future |= statements.co_flags & FUTURE_FLAGS
        if last is None:
            return statements, None
        return statements, self._compiled(_ast.Expression(last.value), filename, 'eval')

    def _compiled(self, source, filename, mode, flags=0):
        return compile(source, filename, mode, flags | self._future | PYCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    def _evaluate(self, code):
        value = eval(code, self._namespace)
        return self._loop.run(value) if code.co_flags & CO_COROUTINE else value
