"""What code shows besides text: values of expressions, display(), and matplotlib's figures."""

import builtins
import os
import sys

from . import bundles

# Debian's matplotlib looks for its configuration in /etc only, which a sandbox may not have.
_ETC_MATPLOTLIBRC = '/etc/matplotlibrc'
_SHIPPED_MATPLOTLIBRC = '/usr/share/matplotlib/mpl-data/matplotlibrc'


def prepare_environ(environ):
    """Lets matplotlib and pip find what they need, here and in programs that code starts."""
    # There is no system here that pip could break (PEP 668).
    environ.setdefault('PIP_BREAK_SYSTEM_PACKAGES', '1')
    environ.setdefault('MPLCONFIGDIR', '/tmp/matplotlib')
    if not os.path.exists(_ETC_MATPLOTLIBRC) and os.path.exists(_SHIPPED_MATPLOTLIBRC):
        environ.setdefault('MATPLOTLIBRC', _SHIPPED_MATPLOTLIBRC)


class DisplayHandle:
    """A display that can be changed: what `display(..., display_id=...)` returns."""

    def __init__(self, owner, display_id):
        self._owner = owner
        self.display_id = display_id

    def __repr__(self):
        return f'<DisplayHandle display_id={self.display_id}>'

    def display(self, value, **options):
        """Displays one more of this name."""
        self._owner.display(value, display_id=self.display_id, **options)

    def update(self, value, **options):
        """Shows `value` in its place."""
        self._owner.update_display(value, display_id=self.display_id, **options)


class Display:
    """Sends MIME bundles with `emit(type, fields, sync)`; in forked children it prints."""

    def __init__(self, channel, emit):
        self._channel = channel
        self._emit = emit
        self.patches = {
            'matplotlib': self._patch_matplotlib,
            'cob_lang.figures': self._patch_figures,
            'IPython.core.display_functions': self._patch_ipython,
        }

    def restore(self):
        sys.displayhook = sys.__displayhook__ = self._show_value
        builtins.display = self.display

    def display(self, *values, include=None, exclude=None, metadata=None, display_id=None, raw=False, clear=False, update=False, **_):
        """
        Displays each value in the richest form its `_repr_*_` methods offer; `raw`: values are MIME bundles. With `display_id`, a name or
        True, a handle is returned whose `update` changes the display. As IPython's function of this name.
        """
        if clear:
            self.clear_output(wait=True)
        if display_id is True:
            display_id = os.urandom(8).hex()
        for value in values:
            data, details = (bundles.fit(value), {}) if raw else bundles.to_bundle(value)
            kept = {mime: entry for mime, entry in data.items() if (not include or mime in include) and mime not in (exclude or ())}
            event = 'update_display_data' if update else 'display_data'
            self._publish(event, kept, {**details, **(metadata or {})}, True, display_id)
        return DisplayHandle(self, display_id) if display_id is not None and not update else None

    def update_display(self, value, *, display_id, **options):
        """Shows `value` in place of what was displayed under this name."""
        self.display(value, display_id=display_id, update=True, **options)

    def clear_output(self, wait=False):
        """Takes back what the execution has put out so far; with `wait` when the next output comes."""
        if self._channel.mine:
            self._emit('clear_output', {'wait': bool(wait)}, True)

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        """Displays a MIME bundle."""
        self.display(data, metadata=metadata, display_id=(transient or {}).get('display_id'), raw=True, update=update)

    def _show_value(self, value):
        if value is not None:
            builtins._ = None  # as the interpreter does: repr() must not see the previous value
            data, metadata = bundles.to_bundle(value)
            self._publish('execute_result', data, metadata, False)
            builtins._ = value

    def _publish(self, event_type, data, metadata, sync, display_id=None):
        if self._channel.mine:
            named = {} if display_id is None else {'displayId': str(display_id)[:256]}
            self._emit(event_type, {'data': data, 'metadata': metadata, **named}, sync)
        else:
            print(data.get('text/plain', ''))

    def show_open_figures(self):
        """Displays the figures that code made and did not show."""
        figures = sys.modules.get('cob_lang.figures')
        if figures is not None:
            figures.show_all()

    def _patch_matplotlib(self, matplotlib):
        # Not through MPLBACKEND, which programs started by user code would inherit.
        if not os.environ.get('MPLBACKEND'):
            matplotlib.rcParams['backend'] = 'module://cob_lang.figures'

    def _patch_ipython(self, module):
        """IPython's functions only print outside of IPython; its classes of displays are made to be shown."""
        module.display = self.display
        module.update_display = self.update_display
        module.clear_output = self.clear_output
        module.publish_display_data = self.publish

    def _patch_figures(self, figures):
        figures.publish_with(lambda data: self._publish('display_data', bundles.fit(data), {}, True))
