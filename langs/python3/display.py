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


class Display:
    """Sends MIME bundles with `emit(type, fields, sync)`; in forked children it prints."""

    def __init__(self, channel, emit):
        self._channel = channel
        self._emit = emit
        self.patches = {'matplotlib': self._patch_matplotlib, 'cob_lang.figures': self._patch_figures}

    def restore(self):
        sys.displayhook = sys.__displayhook__ = self._show_value
        builtins.display = self.display

    def display(self, *values):
        """Displays each value in the richest form its `_repr_*_` methods offer."""
        for value in values:
            data, metadata = bundles.to_bundle(value)
            self._publish('display_data', data, metadata, True)

    def _show_value(self, value):
        if value is not None:
            builtins._ = None  # as the interpreter does: repr() must not see the previous value
            data, metadata = bundles.to_bundle(value)
            self._publish('execute_result', data, metadata, False)
            builtins._ = value

    def _publish(self, event_type, data, metadata, sync):
        if self._channel.mine:
            self._emit(event_type, {'data': data, 'metadata': metadata}, sync)
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

    def _patch_figures(self, figures):
        figures.publish_with(lambda data: self._publish('display_data', bundles.fit(data), {}, True))
