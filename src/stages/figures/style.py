"""The look of the book: one paper-like page, one colour a method, one symbol a verdict.

A figure is 5 inches wide with text of about 10 points, and fills the page's column: the
book's style sheet sees to it. At the 350 pixels of a phone's column that text is still
10 pixels high; at the 620 of a desktop's it is as large as the words around it.
"""

import base64
import io
import textwrap
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import count

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from stages.evidence import CONTRADICTED, INCONCLUSIVE, REPRODUCED

WIDTH = 5.0  # inches
DPI = 180
PIXELS = 140  # of a page, an inch, where nothing else says how wide a picture is
PAD = 0.08  # inches between the edge of the page and what is on it
EDGE = PAD / WIDTH
SURFACE, TEXT, MUTED, GRID = "#fbfaf7", "#26262b", "#5d6068", "#e4e1d8"

# Okabe and Ito's colours without the two that verdicts keep for themselves and without
# yellow, which paper swallows; four of Paul Tol's darker ones stand in.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#882255",
    "#56B4E9",
    "#26262B",
    "#CC79A7",
    "#7F8A2A",
    "#332288",
)
MARKERS = ("o", "s", "^", "D", "v", "p", "h", "*")
DASHES = ("-", (0, (4, 2)), (0, (1, 1.8)))

STYLE = {
    "figure.figsize": (WIDTH, 3.1),
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": PAD,
    "figure.constrained_layout.h_pad": PAD,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "axes.facecolor": SURFACE,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "text.color": TEXT,
    "axes.labelcolor": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.prop_cycle": cycler(color=COLOURS),
    "lines.linewidth": 2,
    "lines.markersize": 5.5,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "round",
    "image.cmap": "stages",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "svg.hashsalt": "stages",
    # a slider's frames are all open until they are rendered
    "figure.max_open_warning": 0,
}

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "stages", ["#f4f1e8", "#a9cfe6", "#3b8fc4", "#0b3f70"]
)
DIVERGING = LinearSegmentedColormap.from_list(
    "stages_diverging", ["#8a3b0a", "#e0a070", "#f4f1e8", "#7fb4da", "#0b4a80"]
)
for _cmap in (SEQUENTIAL, DIVERGING):
    mpl.colormaps.register(_cmap, force=True)


@dataclass(frozen=True)
class Look:
    """How one method, or one verdict, is drawn: a colour, a marker, a dash and, for
    verdicts, a printed symbol.
    """

    colour: str
    marker: str = "o"
    dash: str | tuple = "-"
    symbol: str = ""

    @property
    def ink(self) -> str:
        """The colour, darkened until text set in it is readable on the page (a contrast
        of 4.5).
        """
        return readable(self.colour)


VERDICTS = {
    REPRODUCED: Look("#00684A", "o", symbol="●"),
    INCONCLUSIVE: Look("#72757C", "D", symbol="◆"),
    CONTRADICTED: Look("#B93A0B", "X", symbol="✖"),
}

MOST = 8  # arms a figure can tell apart
_DEALT = tuple(  # no two of these share colour and marker
    Look(COLOURS[i], MARKERS[(i + lap) % len(MARKERS)], dash)
    for lap, dash in enumerate(DASHES)
    for i in range(len(COLOURS))
)


@dataclass
class _Page:
    """The looks of the page at hand, and the most arms that a figure of it may have."""

    looks: dict[str, Look] = field(default_factory=dict)
    most: int = MOST


_page = _Page()


def use_style(methods: Iterable[str] = (), *, most: int = MOST) -> None:
    """Apply the book's style from here on, and deal out looks afresh.

    Args:
        methods: the page's list, in the order of the looks. It may be longer than a
            figure's; other methods get a look when they are first drawn.
        most: arms a figure may have. Eight is what a reader can tell apart; only a
            page older than that limit has a reason for more.

    Raises:
        ValueError: more methods than there are looks.
    """
    mpl.rcParams.update(STYLE)
    _page.looks.clear()
    _page.most = most
    for method in methods:
        _deal(method, beside=())


def style():
    """Return a context manager inside which figures have the book's style."""
    return plt.rc_context(STYLE)


def palette(methods: Iterable[str]) -> dict[str, Look]:
    """Return the looks of methods that are drawn in one figure.

    A method keeps its look through a page. One without a look gets the next that is
    free, if there is a choice in a colour that no other of `methods` has. The first
    eight looks of a page differ in colour and marker, and no two share both.

    Raises:
        ValueError: more than eight methods (or the `most` of `use_style`), or more on
            the page than there are looks.
    """
    methods = list(dict.fromkeys(methods))
    refuse_crowd(methods)
    for method in methods:
        _deal(method, beside=methods)
    return {method: _page.looks[method] for method in methods}


def refuse_crowd(methods: Collection[str]) -> None:
    """Raise ValueError if these are too many arms for a figure."""
    if len(methods) > _page.most:
        raise ValueError(
            f"{len(methods)} arms in one figure: {', '.join(methods)}; a figure has at"
            f" most {_page.most}, so draw fewer or make two figures"
        )


def _deal(method: str, beside: Iterable[str]) -> None:
    """Give a method a look if it has none, unlike those of the methods beside it."""
    if method in _page.looks:
        return
    taken = set(_page.looks.values())
    free = [look for look in _DEALT if look not in taken]
    if not free:
        raise ValueError(
            f"no look is left for {method!r}: a page can tell {len(_DEALT)} methods"
            " apart"
        )
    colours = {_page.looks[other].colour for other in beside if other in _page.looks}
    _page.looks[method] = next((k for k in free if k.colour not in colours), free[0])


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast ratio of two colours, from 1 (equal) to 21 (black on
    white).
    """
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour) -> float:
    """Return the relative luminance of a colour, from 0 (black) to 1 (white)."""
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def readable(colour: str, surface: str = SURFACE, ratio: float = 4.5) -> str:
    """Return `colour`, darkened as little as it takes to reach a contrast of `ratio` on
    `surface`.
    """
    shades = (to_hex(np.asarray(to_rgb(colour)) * (1 - i / 50)) for i in count())
    return next(shade for shade in shades if contrast(shade, surface) >= ratio)


def headline(target: Figure | Axes, text: str) -> None:
    """Set `text`, the finding in a sentence, above a figure (flush with its left edge)
    or above one of its panels.
    """
    if isinstance(target, Figure):
        target.suptitle(balance(text, 50), x=EDGE, ha="left")
    else:
        target.set_title(balance(text, 44))


def balance(text: str, width: int) -> str:
    """Break `text` into as few lines of at most `width` characters as it takes, and
    those as even as they can be.
    """
    lines = len(textwrap.wrap(text, width))
    return next(
        fit
        for w in range(1, width + 1)
        if (fit := textwrap.fill(text, w)).count("\n") < max(lines, 1)
    )


def new_axes(ax: Axes | None, height: float, title: str | None) -> Axes:
    """Return `ax`, or the axes of a new figure `height` inches high, under the headline
    `title`.
    """
    fresh = ax is None
    if fresh:
        with style():
            ax = plt.figure(figsize=(WIDTH, height)).add_subplot()
    if title:
        headline(ax.figure if fresh else ax, title)
    return ax


def png(figure: Figure, dpi: float = DPI, colours: int = 256) -> bytes:
    """Render a figure as a PNG of at most `colours` colours; the same figure always
    gives the same bytes.
    """
    buffer = io.BytesIO()
    with plt.rc_context({"savefig.bbox": None}):
        figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return quantise(buffer.getvalue(), colours)


def quantise(picture: bytes, colours: int) -> bytes:
    """Reduce a picture to at most `colours` colours and strip what a PNG says about its
    making.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Picture:
    """A rendered figure: what a notebook shows and stores. `width` is in CSS pixels."""

    png: bytes
    text: str
    width: int

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": self.text,
        }
        return data, {"image/png": {"width": self.width}}


def show(figure: Figure | Artist) -> Picture:
    """Render a figure, or the figure that `figure` (axes, say) belongs to, for the last
    line of a notebook cell.

    The figure is closed, so that the notebook does not show it a second time.
    """
    figure = figure if isinstance(figure, Figure) else figure.figure
    titles = [figure.get_suptitle(), *(ax.get_title("left") for ax in figure.axes)]
    picture = Picture(
        png(figure),
        "Figure: " + " ".join(next(filter(None, titles), "untitled").split()),
        round(PIXELS * figure.get_figwidth()),
    )
    plt.close(figure)
    return picture
