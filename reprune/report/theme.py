"""How every figure looks: matplotlib drawn with stand-in colours that become the page's own, in light and in dark."""

import hashlib
import io
import re
from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that nothing else uses; each becomes a CSS variable of the page. Dense, pruned and the warning colour are of
# Okabe and Ito's palette for the colour-blind (2008), darkened for paper.
INK, MUTED, GRID, PAPER = "#010203", "#020304", "#030405", "#040506"
DENSE, PRUNED, CONTROL, CHAMPION, WARN = "#050607", "#060708", "#070809", "#08090a", "#090a0b"

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    DENSE: "var(--dense)",
    PRUNED: "var(--pruned)",
    CONTROL: "var(--control)",
    CHAMPION: "var(--champion)",
    WARN: "var(--warn)",
}

_STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": CONTROL,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": CONTROL,
    "ytick.color": CONTROL,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "figure.facecolor": "none",
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}

WIDE, NARROW = 10.0, 5.4
"""Width of a figure across the page, and of one of two side by side, in inches at 72 dots each."""


def draw(paint: Callable[[Figure], None], *, width: float = NARROW, height: float = 3.2) -> str:
    """Return a figure as SVG for a page.

    Args:
        paint: Draws into the figure, with the colours of this module.
        width: Inches.
        height: Inches.
    """
    buffer = io.StringIO()
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return _for_page(buffer.getvalue(), "wide" if width > NARROW else "narrow")


def bare(axes: Axes, *, x_grid: bool = False) -> None:
    """Take away the vertical axis line, and move the grid to the other axis where asked."""
    axes.spines["left"].set_visible(False)
    if x_grid:
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")


def _for_page(svg: str, kind: str) -> str:
    """Cut the XML prologue, name the page's colours, and make every id unique to this figure."""
    body = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    salt = hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r'\bid="([^"]+)"', rf'id="f{salt}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#f{salt}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#f{salt}-\1)", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    return re.sub(r"\s*\n\s*", "\n", body).replace("<svg", f'<svg class="{kind}" aria-hidden="true"', 1)
