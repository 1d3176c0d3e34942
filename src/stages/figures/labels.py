"""Names written where the lines end, so that a figure needs no legend."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from stages.figures.style import MUTED, readable


def spread(
    positions: Sequence[float], heights: Sequence[float], low: float, high: float
) -> np.ndarray:
    """Move labels of the given heights apart, by the least squares, so that none
    overlaps another.

    Args:
        positions: the wanted centre of each label, in any order.
        heights: of each label, in the same unit.
        low, high: the labels stay between these two where they all fit.

    Returns:
        The centres, in the order of `positions`.
    """
    positions, heights = np.asarray(positions, float), np.asarray(heights, float)
    order = np.argsort(positions, kind="stable")
    half = heights[order] / 2
    offsets = np.concatenate([[0.0], np.cumsum(half[:-1] + half[1:])])
    packed = isotonic_regression(positions[order] - offsets).x
    first, last = low + half[0], high - half[-1] - offsets[-1]
    packed = (
        np.clip(packed, first, last)
        if first <= last
        else np.full_like(packed, (first + last) / 2)
    )
    centres = np.empty_like(packed)
    centres[order] = packed + offsets
    return centres


def label_lines(
    ax: Axes, names: Mapping[str, str] | None = None, wrap: int = 14, gap: float = 1.15
) -> None:
    """Write each labelled line's name to the right of the axes, level with the line's
    end, in the line's colour.

    Labels that would overlap move apart, and a thin leader ties each to its line. Call
    it last: it reads the limits of the axes.

    Args:
        names: other words for some labels; an empty word leaves a line without a name.
        wrap: characters in a line of a label.
        gap: line height as a multiple of the font size.
    """
    lines = [
        line
        for line in ax.get_lines()
        if not line.get_label().startswith("_") and len(line.get_xdata())
    ]
    texts = [
        textwrap.fill((names or {}).get(line.get_label(), line.get_label()), wrap)
        for line in lines
    ]
    named = [(line, text) for line, text in zip(lines, texts, strict=True) if text]
    if not named:
        return
    # settles the layout, and with it the height that labels share
    ax.figure.draw_without_rendering()
    size, pixel = 9.5, ax.figure.dpi / 72
    box = ax.bbox
    ends = [
        ax.transData.transform((line.get_xdata()[-1], line.get_ydata()[-1]))
        for line, _ in named
    ]
    heights = [(text.count("\n") + 1.25) * size * gap * pixel for _, text in named]
    levels = [level for _, level in ends]
    centres = spread(levels, heights, box.y0 - size * pixel, box.y1 + size * pixel)
    moved = abs(centres - levels) > 0.3 * size * pixel
    leader = {
        "arrowstyle": "-",
        "color": MUTED,
        "lw": 0.6,
        "shrinkA": 1,
        "shrinkB": 4,
        "relpos": (0, 0.5),
    }
    for (line, text), centre, away in zip(named, centres, moved, strict=True):
        ax.annotate(
            text,
            (line.get_xdata()[-1], line.get_ydata()[-1]),
            textcoords="axes fraction",
            xytext=(1.06 if moved.any() else 1.02, (centre - box.y0) / box.height),
            va="center",
            size=size,
            color=readable(line.get_color()),
            linespacing=gap,
            annotation_clip=False,
            gid="line-label",
            arrowprops=leader if away else None,
        )
