"""Values as MIME bundles: the `_repr_*_` methods that notebooks know, and repr()."""

import base64
import json
import sys

MAX_ENTRY = 4 * 1024 * 1024
MAX_BUNDLE = 6 * 1024 * 1024
MAX_METADATA = 256 * 1024
# Of values within JSON entries and metadata, a key counting for as much as the channel says. The server takes a little more; beyond
# that it ends the session.
MAX_DEPTH = 60
MAX_TYPES = 60
MAX_VALUES = 350_000
MAX_METADATA_VALUES = 40_000
KEY_WEIGHT = 8

_METHODS = {
    'text/html': '_repr_html_',
    'text/markdown': '_repr_markdown_',
    'image/svg+xml': '_repr_svg_',
    'image/png': '_repr_png_',
    'image/jpeg': '_repr_jpeg_',
    'application/pdf': '_repr_pdf_',
    'text/latex': '_repr_latex_',
    'application/json': '_repr_json_',
    'application/javascript': '_repr_javascript_',
}
_CUTTABLE = ('text/plain', 'text/markdown')
# Of exactly these types no value has such a method.
_PLAIN_TYPES = frozenset((int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset, range))
# Objects that have every attribute one asks for (mocks, proxies) have this one too.
_CANARY = '_cob_canary_method_should_not_exist_'


def to_bundle(value):
    """(data, metadata) of a value. What repr() raises is raised here; other methods that raise are left out."""
    data, metadata = {}, {}
    if type(value) not in _PLAIN_TYPES and not isinstance(value, type) and _method(value, _CANARY) is None:
        _add(data, metadata, value)
    if 'text/plain' not in data:
        data['text/plain'] = repr(value)
    return fit(data), fit_metadata(metadata)


def _add(data, metadata, value):
    for mime, name in _METHODS.items():
        answer = _call(value, name)
        if isinstance(answer, tuple) and len(answer) == 2:
            answer, details = answer
            if isinstance(details, dict):
                metadata[mime] = details
        if answer is not None:
            data[mime] = answer
    answer = _call(value, '_repr_mimebundle_', include=None, exclude=None)
    if isinstance(answer, tuple) and len(answer) == 2:
        answer, details = answer
        if isinstance(details, dict):
            metadata.update(details)
    if isinstance(answer, dict):
        data.update((mime, entry) for mime, entry in answer.items() if isinstance(mime, str) and entry is not None)


def _method(value, name):
    try:
        method = getattr(value, name, None)
    except Exception:
        return None
    return method if callable(method) else None


def _call(value, name, **arguments):
    method = _method(value, name)
    if method is None:
        return None
    try:
        return method(**arguments)
    except NotImplementedError:
        return None
    except Exception as problem:
        print(f'{type(value).__name__}.{name} raised {type(problem).__name__}: {problem}', file=sys.stderr)
        return None


def fit(data):
    """The entries of a MIME bundle as JSON values, cut or left out, with a note, where they are too large."""
    fitted, notes, room, values = {}, [], MAX_BUNDLE, MAX_VALUES
    for mime, entry in list(data.items())[:MAX_TYPES]:
        entry, size, count = _to_json(mime, entry)
        if size is None:
            continue
        if count > values:
            notes.append(f'<{mime} of {count} values: too many to show>')
            continue
        values -= count
        limit = min(MAX_ENTRY, room)
        if size > limit:
            if mime not in _CUTTABLE:
                notes.append(f'<{mime} of {size} bytes: too large to show>')
                continue
            entry = _cut(entry, limit)
            size = _size(entry)
        fitted[mime[:256]] = entry
        room -= size
    if notes:
        fitted['text/plain'] = '\n'.join([str(fitted.get('text/plain', ''))[:1000], *notes]).strip()
    return fitted


def _to_json(mime, entry):
    """(entry as a JSON value, its encoded size, the number of values in it), three times None if it is none."""
    if isinstance(entry, (bytes, bytearray, memoryview)):
        entry = base64.b64encode(entry).decode('ascii')
    elif not isinstance(entry, str) and mime.startswith(('text/', 'image/')):
        print(f'{mime}: {type(entry).__name__} is neither text nor bytes', file=sys.stderr)
        return None, None, None
    try:
        return entry, _size(entry), _count(entry)
    except (TypeError, ValueError, RecursionError) as problem:
        print(f'{mime}: {problem}', file=sys.stderr)
        return None, None, None


_encoded = json.JSONEncoder(allow_nan=False).encode


def _size(value):
    return len(_encoded(value))


def _count(value, depth=0):
    """Values within a JSON value, and itself; ValueError when they are nested too deep."""
    if not isinstance(value, (dict, list, tuple)):
        return 1
    if depth == MAX_DEPTH:
        raise ValueError(f'nested deeper than {MAX_DEPTH}')
    if isinstance(value, dict):
        return 1 + sum(KEY_WEIGHT + _count(inner, depth + 1) for inner in value.values())
    return 1 + sum(_count(inner, depth + 1) for inner in value)


def _cut(text, limit):
    kept = text
    while _size(kept) > limit - 64:
        kept = kept[:len(kept) * (limit - 64) // (_size(kept) + 1)]
    return f'{kept}\n… cut: {len(text) - len(kept)} characters'


def fit_metadata(metadata):
    try:
        fits = _size(metadata) <= MAX_METADATA and _count(metadata) <= MAX_METADATA_VALUES
        return metadata if fits else {}
    except (TypeError, ValueError, RecursionError):
        return {}
