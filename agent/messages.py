"""What may be said on the channel: requests of the server, and events of an evaluator."""

PROTOCOL = 1
MAX_ID = 64
MAX_MIME = 256

class _Optional:
    """A field that may be missing."""

    def __init__(self, kind):
        self.kind = kind


_STRING_MAP = 'map of strings'
_STRINGS = 'list of strings'

_REQUESTS = {
    'attach': {'protocol': int, 'after': int},
    'ack': {'seq': int},
    'configure': {'environ': _STRING_MAP},
    'execute': {'code': str},
    'input': {'execution': str, 'text': str},
    'interrupt': {'execution': str},
    'complete': {'code': str, 'cursor': int},
    'inspect': {'code': str, 'cursor': int},
    'restart': {},
    'ping': {},
}

# On connections of their own, after the design of 9P: one request at a time, `open` or `write` first.
_STREAM_REQUESTS = {
    'open': {'path': _STRINGS},
    'read': {'offset': int, 'length': int},
    'list': {},
    'archive': {},
    'write': {'path': _STRINGS, 'room': int},
    'commit': {},
    'remove': {'path': _STRINGS},
}

# On a connection that is a terminal, `terminal` first.
_TERMINAL_REQUESTS = {
    'terminal': {'rows': int, 'cols': int},
    'resize': {'rows': int, 'cols': int},
}

# Types an evaluator may send. Unknown ones are ignored, as a newer evaluator may know more.
_EVENTS = {
    'ready': {},
    'reply': {'result': _Optional(dict)},
    'stream': {'name': str, 'text': str},
    'display_data': {'data': dict, 'metadata': dict, 'displayId': _Optional(str)},
    'update_display_data': {'data': dict, 'metadata': dict, 'displayId': str},
    'clear_output': {'wait': bool},
    'execute_result': {'data': dict, 'metadata': dict},
    'error': {'name': str, 'args': _STRINGS, 'traceback': _STRINGS, 'before': bool, 'frames': _Optional(list)},
    'input_request': {'prompt': str, 'password': bool},
    'execute_reply': {'status': str, 'durationMs': float},
}


class Malformed(Exception):
    """A message that breaks the protocol."""


class UnknownMethod(Exception):
    """A well-formed request for something this agent cannot do: (id, method)."""


def parse_request(message):
    """(id or None, method, params) of a request of the server."""
    return _parse(message, _REQUESTS)


def parse_stream_request(message):
    """The same of a request on a connection that carries files."""
    return _parse(message, _STREAM_REQUESTS)


def parse_terminal_request(message):
    """The same of a request on a connection that is a terminal."""
    return _parse(message, _TERMINAL_REQUESTS)


def _parse(message, requests):
    _require(isinstance(message, dict), 'a request must be an object')
    method, request_id, params = message.get('method'), message.get('id'), message.get('params')
    _require(isinstance(method, str), 'method must be a string')
    _require(method == 'ack' or _is_id(request_id), 'id must be a string of 1 to 64 characters')
    fields = requests.get(method)
    if fields is None:
        raise UnknownMethod(request_id, method)
    _require(isinstance(params, dict), 'params must be an object')
    for name, kind in fields.items():
        if not _is(params.get(name), kind):
            raise Malformed(f'{method}: bad {name}')
    return request_id, method, params


def parse_event(message):
    """(type, id, fields) of an evaluator's message; None if its type is unknown; extra fields are left out."""
    _require(isinstance(message, dict), 'an event must be an object')
    event_type, request_id = message.get('type'), message.get('id')
    _require(isinstance(event_type, str), 'type must be a string')
    expected = _EVENTS.get(event_type)
    if expected is None:
        return None
    _require(request_id is None or _is_id(request_id), 'id must be a string of 1 to 64 characters')
    fields = {}
    for name, kind in expected.items():
        value = message.get(name)
        if isinstance(kind, _Optional):
            if value is None:
                continue
            kind = kind.kind
        if not _is(value, kind):
            raise Malformed(f'{event_type}: bad {name}')
        fields[name] = value
    if event_type == 'stream':
        _require(fields['name'] in ('stdout', 'stderr'), 'stream: bad name')
    elif event_type == 'execute_reply':
        _require(fields['status'] in ('ok', 'error', 'interrupted'), 'execute_reply: bad status')
        _require(0 <= fields['durationMs'] < 1e15, 'execute_reply: bad durationMs')
    elif 'data' in fields:
        _require(all(len(mime) <= MAX_MIME for mime in fields['data']), f'a MIME type of more than {MAX_MIME} characters')
    return event_type, request_id, fields


def _is_id(value):
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID


def _is(value, kind):
    if kind is int:
        return type(value) is int and value >= 0
    if kind is float:
        return type(value) in (int, float)
    if kind is _STRING_MAP:
        return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())
    if kind is _STRINGS:
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    return isinstance(value, kind)


def _require(holds, problem):
    if not holds:
        raise Malformed(problem)
