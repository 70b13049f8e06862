"""IPython's shell, with what it shows going to the channel."""

import warnings

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any, Type
from traitlets.config import Config

from . import bundles

MAX_TRACEBACK_CHARACTERS = 256 * 1024


class _Hook(DisplayHook):
    def write_output_prompt(self):
        pass

    def write_format_data(self, format_dict, md_dict=None):
        self.shell.emit('execute_result', {'data': bundles.fit(format_dict), 'metadata': bundles.fit_metadata(md_dict or {})}, False)

    def finish_displayhook(self):
        pass


class _Publisher(DisplayPublisher):
    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_):
        name = (transient or {}).get('display_id')
        named = {} if name is None else {'displayId': str(name)[:256]}
        event = 'update_display_data' if update and named else 'display_data'
        self.shell.emit(event, {'data': bundles.fit(data), 'metadata': bundles.fit_metadata(metadata or {}), **named}, True)

    def clear_output(self, wait=False):
        self.shell.emit('clear_output', {'wait': bool(wait)}, True)


class Shell(InteractiveShell):
    """`emit(type, fields, sync)` must be set before code runs."""

    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    emit = Any()
    # Not through a terminal of its own: what programs print comes by the pipes.
    system = InteractiveShell.system_raw

    def init_io(self):
        pass

    def init_hooks(self):
        super().init_hooks()
        self.set_hook('show_in_pager', self._show_in_pager, 99)

    @staticmethod
    def _show_in_pager(shell, data, start=0, screen_lines=0):
        data = data if isinstance(data, dict) else {'text/plain': data}
        shell.display_pub.publish({'text/plain': data.get('text/plain', '')})

    def ask_exit(self):
        raise SystemExit(0)

    def enable_gui(self, gui=None):
        """There are no windows here."""

    def showtraceback(self, exc_tuple=None, *arguments, **options):
        kind, problem, _ = self._get_exc_info(exc_tuple)
        if kind is SystemExit and problem.code in (None, 0):
            return
        super().showtraceback(exc_tuple, *arguments, **options)

    def _showtraceback(self, etype, evalue, stb):
        lines = [f'{line}\n' for part in stb for line in part.split('\n')]
        text = ''.join(lines)
        if len(text) > MAX_TRACEBACK_CHARACTERS:
            half = MAX_TRACEBACK_CHARACTERS // 2
            lines = [text[:half], f'\n… cut: {len(text) - 2 * half} characters\n', text[-half:]]
        before = issubclass(etype, SyntaxError) and str(evalue.filename).startswith('<ipython-input')
        self.emit('error', {
            'name': etype.__name__[:256], 'args': [str(arg)[:65536] for arg in evalue.args[:32]], 'traceback': lines, 'before': before,
        }, False)


def make(namespace_module):
    """The one shell of this process; its user namespace is that of `namespace_module`."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = 'NoColor'
    config.InteractiveShell.xmode = 'Context'
    config.Completer.use_jedi = False
    warnings.filterwarnings('ignore', message='To exit: use')
    return Shell.instance(config=config, user_module=namespace_module, user_ns=namespace_module.__dict__)
