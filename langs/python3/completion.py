"""What could stand at a place in code, and what is known of what stands there: looked up on live objects, calling nothing."""

import builtins
import inspect
import keyword
import pkgutil
import re
import sys
import types

MAX_MATCHES = 500
MAX_TEXT = 64 * 1024

_DOTTED = re.compile(r'(?:[^\W\d]\w*\s*\.\s*)*(?:[^\W\d]\w*)?$')
_IMPORT = re.compile(r'^\s*(?:import\s+(?:[\w.]+(?:\s+as\s+\w+)?\s*,\s*)*|from\s+)([\w.]*)$')
_FROM_IMPORT = re.compile(r'^\s*from\s+([\w.]+)\s+import\s+(?:\(?\s*(?:\w+(?:\s+as\s+\w+)?\s*,\s*)*)(\w*)$')
_MISSING = object()


def complete(code, cursor, namespace):
    """`{matches: [{text, type}], start, end}`; positions in characters."""
    before = code[:cursor]
    line = before.rpartition('\n')[2]
    names, prefix = _candidates(line, namespace)
    shown = [name for name in names if name.startswith(prefix) and (not name.startswith('_') or prefix.startswith('_'))]
    matches = [{'text': name, 'type': _kind(names[name])} for name in sorted(shown)[:MAX_MATCHES]]
    return {'matches': matches, 'start': cursor - len(prefix), 'end': cursor}


def look_up(code, cursor, namespace):
    """`{found, data}` with what `help` would tell, in short."""
    end = cursor
    while end < len(code) and (code[end].isalnum() or code[end] == '_'):
        end += 1
    before = code[:end].rstrip()
    if before.endswith('('):
        before = before[:-1]
    value = _evaluate(_DOTTED.search(before).group(), namespace)
    if value is _MISSING:
        return {'found': False, 'data': {}}
    return {'found': True, 'data': {'text/plain': _describe(value)[:MAX_TEXT]}}


def _candidates(line, namespace):
    """(names with what they stand for, what of a name is typed)"""
    match = _FROM_IMPORT.match(line)
    if match:
        module = sys.modules.get(match.group(1))
        return _attributes(module) if module is not None else _modules(match.group(1)), match.group(2)
    match = _IMPORT.match(line)
    if match:
        package, _, prefix = match.group(1).rpartition('.')
        return _modules(package), prefix
    typed = re.sub(r'\s', '', _DOTTED.search(line).group())
    path, dot, prefix = typed.rpartition('.')
    if dot:
        value = _evaluate(path, namespace)
        return {} if value is _MISSING else _attributes(value), prefix
    return {**dict.fromkeys(keyword.kwlist, keyword), **vars(builtins), **namespace}, prefix


def _evaluate(path, namespace):
    first, *others = re.sub(r'\s', '', path).split('.')
    value = namespace.get(first, getattr(builtins, first, _MISSING)) if first else _MISSING
    for name in others:
        if value is _MISSING:
            break
        try:
            value = getattr(value, name)
        except Exception:
            return _MISSING
    return value


def _attributes(value):
    try:
        names = [name for name in dir(value) if isinstance(name, str)]
    except Exception:
        return {}
    return {name: inspect.getattr_static(value, name, None) for name in names[:20_000]}


def _modules(package):
    if not package:
        found = {module.name for module in pkgutil.iter_modules()}
        return dict.fromkeys((*found, *sys.builtin_module_names), sys)
    path = getattr(sys.modules.get(package), '__path__', None)
    return dict.fromkeys((module.name for module in pkgutil.iter_modules(path)), sys) if path else {}


def _kind(value):
    if value is keyword:
        return 'keyword'
    if isinstance(value, types.ModuleType):
        return 'module'
    if isinstance(value, type):
        return 'class'
    if isinstance(value, property):
        return 'property'
    if isinstance(value, (staticmethod, classmethod)) or inspect.isroutine(value):
        return 'function'
    return 'instance'


def _describe(value):
    lines = []
    try:
        lines.append(f'{getattr(value, "__name__", type(value).__name__)}{inspect.signature(value)}')
    except (TypeError, ValueError):
        if not isinstance(value, (type, types.ModuleType)) and not inspect.isroutine(value):
            lines.append(repr(value)[:1000])
    lines.append(f'Type: {type(value).__qualname__}')
    try:
        lines.append(f'File: {inspect.getsourcefile(value) or inspect.getfile(value)}')
    except (TypeError, OSError):
        pass  # built in, or of no file
    text = inspect.getdoc(value)
    if text:
        lines += ['', text]
    return '\n'.join(lines)
