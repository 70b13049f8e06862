"""A matplotlib backend that displays figures. Imported by matplotlib itself, when user code imports pyplot."""

import io

from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg

MODULE = f'module://{__name__}'

_MIMES = {'png': 'image/png', 'svg': 'image/svg+xml', 'jpg': 'image/jpeg', 'jpeg': 'image/jpeg', 'pdf': 'application/pdf'}
_publish = None


def publish_with(publish):
    """`publish(data)` is called with each figure's MIME bundle."""
    global _publish
    _publish = publish


def show_all():
    """Displays and closes the open figures, in the order they were made."""
    try:
        for manager in sorted(Gcf.get_all_fig_managers(), key=lambda manager: manager.num):
            figure = manager.canvas.figure
            if figure.axes or figure.lines or figure.patches or figure.texts or figure.images:
                _publish(_to_bundle(figure))
    finally:
        Gcf.destroy_all()


def _to_bundle(figure):
    kind = rcParams['savefig.format']
    if kind not in _MIMES:
        kind = 'png'
    picture = io.BytesIO()
    figure.canvas.print_figure(
        picture, format=kind, dpi=figure.dpi, bbox_inches='tight',
        facecolor=figure.get_facecolor(), edgecolor=figure.get_edgecolor(),
    )
    content = picture.getvalue()
    return {_MIMES[kind]: content.decode('utf-8') if kind == 'svg' else content, 'text/plain': repr(figure)}


@_Backend.export
class _DisplayBackend(_Backend):
    FigureCanvas = FigureCanvasAgg
    FigureManager = FigureManagerBase

    @staticmethod
    def show(*args, **kwargs):
        show_all()
