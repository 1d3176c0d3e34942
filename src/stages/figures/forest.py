"""The forest plot: every claim's effect, with its interval, against what the claim asks
for.
"""

import math
import textwrap
from collections.abc import Iterable
from string import ascii_lowercase
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.evidence import REPRODUCED, Finding
from stages.figures.rows import Row, match
from stages.figures.style import (
    EDGE,
    MUTED,
    SURFACE,
    TEXT,
    VERDICTS,
    WIDTH,
    headline,
    style,
)

LINE, BARS = (
    0.165,
    0.39,
)  # inches: a line of a claim's name, and the strip below it that holds its intervals


def forest(
    claims: Iterable | None = None,
    live: Iterable | None = None,
    record: Any = None,
    *,
    only: Iterable[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each claim's effect with its 95 % interval; positive favours the claim.

    The tinted strip behind an interval is where the whole of it has to lie for the
    claim to be reproduced: above the margin (superiority), above minus the margin
    (noninferiority), within plus or minus the margin (equivalence). The verdict is told
    by colour, by symbol and in words. Filled symbols are recorded, hollow ones live.
    Claims on one metric share an axis, in its unit; every metric has its own.

    Args:
        claims: each a `Claim` or a row of a record; the record's own by default.
        live: the findings of a run just made.
        record: a record, or its list of claims.
        only: draw a part of the claims: "C1" stands for C1, C1a, C1b, and so on. All of
            them by default.

    Returns:
        The figure, as high as its claims need; `show` displays it.

    Raises:
        ValueError: there are no claims, no findings, or findings of no claim; or `only`
            names one that there is not.
    """
    rows = match(claims, live, record)
    if only is not None:
        kept, there = set(only), {row.key.rstrip(ascii_lowercase) for row in rows}
        if missing := kept - there:
            raise ValueError(
                f"no claim {', '.join(sorted(missing))}; there is"
                f" {', '.join(sorted(there))}"
            )
        rows = [row for row in rows if row.key.rstrip(ascii_lowercase) in kept]
    if all(row.live is None and row.record is None for row in rows):
        raise ValueError(
            "none of the claims was measured: pass live findings or a record"
        )
    groups = [
        [row for row in rows if row.metric == metric]
        for metric in dict.fromkeys(row.metric for row in rows)
    ]
    heights = [sum(_height(row) for row in group) for group in groups]
    with style():
        figure, axes = plt.subplots(
            len(groups),
            figsize=(WIDTH, sum(heights) + 0.62 * len(groups) + 0.75),
            height_ratios=heights,
            squeeze=False,
        )
        for ax, group, height in zip(axes[:, 0], groups, heights, strict=True):
            _panel(ax, group, height)
        _key(figure, rows)
        if title:
            headline(figure, title)
    return figure


def _name(row: Row) -> str:
    where = next((f.setting for f in (row.record, row.live) if f and f.setting), "")
    return textwrap.fill(
        f"{row.key}  {row.comparison}" + (f" [{where}]" if where else ""), 50
    )


def _height(row: Row) -> float:
    return LINE * (_name(row).count("\n") + 1) + BARS


def _panel(ax: Axes, rows: list[Row], height: float) -> None:
    """Draw the claims on one metric; y is in inches from the top."""
    found = [f for row in rows for f in (row.live, row.record) if f]
    bounds = [bound for row in rows for bound in row.bounds if math.isfinite(bound)]
    marks = [0.0, *bounds, *(edge for f in found for edge in (f.low, f.high))]
    pad = 0.07 * ((max(marks) - min(marks)) or 1.0)
    left, right = min(marks) - pad, max(marks) + pad
    ax.set(xlim=(left, right), ylim=(height, 0))
    ax.axvline(0, color=TEXT, linewidth=1, zorder=2, gid="zero")
    top = 0.0
    for row in rows:
        bottom = top + _height(row)
        _draw(ax, row, top, bottom, right)
        top = bottom
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(textwrap.fill(f"effect on {rows[0].metric}", 58))


def _draw(ax: Axes, row: Row, top: float, bottom: float, right: float) -> None:
    """Draw one claim: its name and verdict, the strip to reach, its intervals."""
    level = ax.get_yaxis_transform()
    low, high = row.bounds
    strip = (bottom - BARS + 0.07, bottom - 0.05)
    tint = VERDICTS[REPRODUCED].colour
    ax.fill_betweenx(
        strip,
        low,
        min(high, right),
        color=tint,
        alpha=0.11,
        linewidth=0,
        gid=f"strip:{row.key}",
    )
    edges = [edge for edge in (low, high) if math.isfinite(edge)]
    ax.vlines(
        edges,
        *strip,
        color=tint,
        linewidth=1.3,
        linestyle=(0, (1.5, 1)),
        zorder=2,
        gid=f"margin:{row.key}",
    )
    words = {
        "transform": level,
        "va": "top",
        "size": 9.5,
        "linespacing": 1.2,
        "zorder": 5,
    }
    words["bbox"] = {
        "facecolor": SURFACE,
        "edgecolor": "none",
        "pad": 1,
    }  # the lines behind stop short of the words
    ax.text(0, top + 0.04, _name(row), gid=f"name:{row.key}", **words)
    both = row.live is not None and row.record is not None
    middle = sum(strip) / 2
    if row.live:
        _interval(
            ax,
            row.live,
            middle + (0.055 if both else 0),
            f"live:{row.key}",
            filled=False,
        )
    if row.record:
        _interval(
            ax,
            row.record,
            middle - (0.055 if both else 0),
            f"record:{row.key}",
            filled=True,
        )
    said = row.record or row.live
    look = VERDICTS[said.verdict] if said else None
    word, colour = (
        (f"{look.symbol} {said.verdict}", look.ink) if said else ("not measured", MUTED)
    )
    ax.text(
        1,
        top + 0.04,
        word,
        ha="right",
        weight="bold",
        color=colour,
        gid=f"verdict:{row.key}",
        **words,
    )


def _interval(ax: Axes, finding: Finding, y: float, gid: str, filled: bool) -> None:
    look = VERDICTS[finding.verdict]
    ax.plot(
        [finding.low, finding.high],
        [y, y],
        color=look.colour,
        linewidth=2 if filled else 1.2,
        zorder=3,
        gid=gid,
    )
    face, edge = (look.colour, SURFACE) if filled else (SURFACE, look.colour)
    ax.plot(
        finding.effect,
        y,
        look.marker,
        markersize=7.5 if filled else 7,
        zorder=4,
        gid=f"{gid}:mean",
        markerfacecolor=face,
        markeredgecolor=edge,
        markeredgewidth=0.8 if filled else 1.2,
    )


def _key(figure: Figure, rows: list[Row]) -> None:
    """Say once, below the axes, how to read the figure."""
    counts = {
        kind: {f.seeds for row in rows if (f := getattr(row, kind))}
        for kind in ("record", "live")
    }
    words = {"record": "Filled: recorded", "live": "Hollow: live"}
    told = [
        f"{words[kind]} ({', '.join(map(str, sorted(seeds)))} seeds)."
        for kind, seeds in counts.items()
        if seeds
    ]
    note = (
        "Right of zero favours the claim. Tinted: where its whole interval has to lie."
    )
    figure.supxlabel(
        f"{' '.join(told)}\n{note}",
        x=EDGE,
        ha="left",
        size=8.5,
        color=MUTED,
        linespacing=1.3,
    )
