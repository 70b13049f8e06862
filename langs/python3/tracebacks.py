"""Exceptions as error events, without the evaluator's own frames."""

OWN = '<cob>/'
USER = '<execution '
MAX_TRACEBACK_CHARACTERS = 256 * 1024
MAX_ARG_CHARACTERS = 64 * 1024
MAX_ARGS = 32
MAX_FRAMES = 100


def describe(problem, before, sources):
    """Fields of the error event of exception `problem`; `before`: the code never started to run."""
    lines, frames = _lines(problem, before, sources)
    return {
        'name': _name(problem),
        'args': _args(problem),
        'traceback': _cut(lines),
        'before': before,
        'frames': frames,
    }


def exit_event(problem):
    """Fields of the error event of a SystemExit that reports failure."""
    code = _text(problem.code)
    return {'name': 'SystemExit', 'args': [code], 'traceback': [f'SystemExit: {code}\n'], 'before': False}


def _name(problem):
    return str(type.__dict__['__qualname__'].__get__(type(problem)))[:256]


def _args(problem):
    # Read past any override: a subclass may have made `args` a property.
    return [_text(arg) for arg in BaseException.args.__get__(problem)[:MAX_ARGS]]


def _text(value):
    try:
        text = str(value)
    except Exception:
        text = f'<unprintable {type(value).__name__} object>'
    return text if len(text) <= MAX_ARG_CHARACTERS else text[:MAX_ARG_CHARACTERS] + '…'


def _lines(problem, before, sources):
    """(lines of the traceback, frames)"""
    import linecache
    import traceback
    sources.fill(linecache)
    try:
        report = traceback.TracebackException(type(problem), problem, trim(problem.__traceback__))
        if before:
            return list(report.format_exception_only()), []
        _hide_own_frames(report, set())
        return list(report.format()), _frames(report)
    except Exception:
        return [f'{_name(problem)}: <this exception cannot be shown>\n'], []


def _frames(report):
    """Where it was raised, outermost first; of many the ends."""
    half = MAX_FRAMES // 2
    stack = list(report.stack or ())
    if len(stack) > MAX_FRAMES:
        stack = stack[:half] + stack[-half:]
    return [
        {'file': frame.filename[:1000], 'line': frame.lineno, 'name': frame.name[:200], 'text': (frame.line or '')[:1000]}
        for frame in stack
    ]


def trim(trace):
    """`trace` from the first frame of user code on; without one, from the first frame not ours."""
    start = trace
    while start is not None and not start.tb_frame.f_code.co_filename.startswith(USER):
        start = start.tb_next
    if start is not None:
        return start
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN):
        trace = trace.tb_next
    return trace


def _hide_own_frames(report, seen):
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    if report.stack is not None:
        report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(OWN)]
    _hide_own_frames(report.__cause__, seen)
    _hide_own_frames(report.__context__, seen)
    for member in getattr(report, 'exceptions', None) or ():
        _hide_own_frames(member, seen)


def _cut(lines):
    """At most about MAX_TRACEBACK_CHARACTERS, the ends kept, for the cause stands at one of them."""
    if sum(map(len, lines)) <= MAX_TRACEBACK_CHARACTERS:
        return lines
    half = MAX_TRACEBACK_CHARACTERS // 2
    text = ''.join(lines)
    left_out = len(text) - 2 * half
    return [text[:half], f'\n… cut: {left_out} characters\n', text[-half:]]
