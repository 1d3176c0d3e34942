"""Learning curves, scores seed by seed, and annotated matrices."""

from collections.abc import Callable, Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from stages.evidence import interval
from stages.figures.labels import label_lines
from stages.figures.style import (
    DIVERGING,
    MUTED,
    SEQUENTIAL,
    SURFACE,
    TEXT,
    contrast,
    new_axes,
    palette,
    refuse_crowd,
)


def curves(
    frame: pd.DataFrame,
    name: str,
    methods: Iterable[str] | None = None,
    *,
    ax: Axes | None = None,
    band: bool = True,
    labels: bool = True,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str | None = None,
) -> Axes:
    """Draw one line a method: the mean over seeds, in a band that is its 95 % interval
    (Student's) at each x.

    Args:
        frame: tidy points with columns seed, method, name, x, y, as
            `evidence.tidy_curves` returns them.
        name: which curves to draw.
        methods: which methods, in the order of drawing; all of them by default.
        ax: an existing panel; a figure of its own by default.
        band: leave the band out with False. There is none for a method with a single
            seed.
        labels: write the names at the ends of the lines. With False, call `label_lines`
            when the limits are set.
        ylabel: what y is, with its unit; `name` by default.

    Raises:
        ValueError: no such curve or method, a seed without a point where the others
            have one, or more than eight arms in the figure.
    """
    points = frame[frame["name"] == name]
    looks = palette(_known(points, methods, f"curve {name!r}", frame["name"]))
    ax = new_axes(ax, 3.1, title)
    _join(ax, looks)
    for method, look in looks.items():
        table = _wide(
            points[points["method"] == method],
            "x",
            "y",
            f"curve {name!r} of {method!r}",
        ).sort_index()
        every = 1 if len(table) <= 12 else [len(table) - 1]
        ax.plot(
            table.index,
            table.mean(axis=1),
            linestyle=look.dash,
            color=look.colour,
            label=method,
            zorder=3,
            marker=look.marker,
            markevery=every,
            markeredgecolor=SURFACE,
            markeredgewidth=0.8,
        )
        if band and table.shape[1] > 1:
            _, low, high = np.transpose([interval(row) for row in table.to_numpy()])
            ax.fill_between(
                table.index,
                low,
                high,
                color=look.colour,
                alpha=0.18,
                linewidth=0,
                gid=f"band:{method}",
            )
    if (points["x"] % 1 == 0).all():  # tasks, steps: half of one means nothing
        ax.xaxis.set_major_locator(
            MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10])
        )
    ax.margins(x=0.02)
    ax.set(xlabel=xlabel, ylabel=name if ylabel is None else ylabel)
    if labels:
        label_lines(ax)
    return ax


def scores(
    frame: pd.DataFrame,
    metric: str,
    methods: Iterable[str] | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    xlabel: str | None = None,
    form: str | Callable[[float], str] = "{:#.3g}",
) -> Axes:
    """Draw one row a method: its mean with the 95 % interval, and each seed as a faint
    dot, tied to itself by a line.

    The lines show what a paired comparison sees: where they all lean the same way, the
    methods differ on every seed.

    Args:
        frame: tidy rows with columns seed, method, metric, value.
        methods: top to bottom; all of them by default.
        xlabel: what is measured, with its unit; `metric` by default.
        form: how the mean is printed at the right end of its row, as a format or a
            function.

    Raises:
        ValueError: no such metric or method, a seed that some method lacks, or more
            than eight arms in the figure.
    """
    rows = frame[frame["metric"] == metric]
    looks = palette(_known(rows, methods, f"metric {metric!r}", frame["metric"]))
    table = _wide(
        rows[rows["method"].isin(looks)], "method", "value", f"metric {metric!r}"
    ).loc[list(looks)]
    ax = new_axes(ax, 1.0 + 0.46 * len(table), title)
    _join(ax, looks)
    heights = np.arange(len(table))
    ax.plot(table, heights, color=MUTED, alpha=0.25, linewidth=0.8, zorder=2)
    for y, (method, look) in enumerate(looks.items()):
        values = table.loc[method].to_numpy()
        ax.plot(
            values,
            np.full(values.size, y),
            "o",
            color=look.colour,
            alpha=0.35,
            markersize=4,
            markeredgewidth=0,
        )
        mean, low, high = interval(values) if values.size > 1 else np.repeat(values, 3)
        ax.plot(
            [low, high],
            [y, y],
            color=look.ink,
            linewidth=2.2,
            zorder=4,
            gid=f"interval:{method}",
        )
        ax.plot(
            mean,
            y,
            look.marker,
            color=look.colour,
            markersize=7,
            zorder=5,
            label=method,
            markeredgecolor=SURFACE,
            markeredgewidth=0.8,
        )
        ax.text(
            1.02,
            y,
            _print(mean, form),
            transform=ax.get_yaxis_transform(),
            va="center",
            color=look.ink,
            weight="bold",
        )
    ax.set_yticks(heights, list(looks), color=TEXT)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(axis="x", visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(metric if xlabel is None else xlabel)
    return ax


def heatmap(
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    ax: Axes | None = None,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    form: str | Callable[[float], str] | None = "{:.2f}",
    low: float | None = None,
    high: float | None = None,
    centre: float | None = None,
) -> Axes:
    """Draw a matrix as tinted cells with their values printed in them; cells that are
    NaN stay empty.

    Names of columns that do not fit side by side are slanted, and the values are as
    large as the cells allow.

    Args:
        matrix: shape (rows, columns).
        form: a format or a function of a cell's value; None prints no values and adds a
            colour bar.
        low, high: the values at the ends of the colours; the matrix's own by default.
        centre: a value to be pale, with one hue above it and another below.

    Raises:
        ValueError: the names do not fit the matrix, or no cell is finite.
    """
    matrix = np.asarray(matrix, float)
    if matrix.shape != (len(rows), len(columns)):
        raise ValueError(
            f"the matrix has shape {matrix.shape}, with {len(rows)} row and"
            f" {len(columns)} column names"
        )
    if not np.isfinite(matrix).any():
        raise ValueError("the matrix has no finite value to draw")
    low = np.nanmin(matrix) if low is None else low
    high = np.nanmax(matrix) if high is None else high
    if centre is not None:
        reach = max(high - centre, centre - low)
        low, high = centre - reach, centre + reach
    ax = new_axes(
        ax, 1.0 + (0.36 * len(rows) if form else min(0.36 * len(rows), 3.2)), title
    )
    image = ax.imshow(
        matrix,
        cmap=SEQUENTIAL if centre is None else DIVERGING,
        vmin=low,
        vmax=high,
        aspect="auto",
        zorder=1,
    )
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    # settles the layout, and with it the width of a cell
    ax.figure.draw_without_rendering()
    if _widest(ax.get_xticklabels()) > 0.9 * ax.bbox.width / len(columns):
        ax.set_xticks(
            range(len(columns)),
            columns,
            rotation=40,
            ha="right",
            rotation_mode="anchor",
        )
    if form:
        _print_values(image, matrix, form)
    else:
        ax.figure.colorbar(image, ax=ax, pad=0.02).outline.set_visible(False)
    return ax


def _print_values(
    image: AxesImage, matrix: np.ndarray, form: str | Callable[[float], str]
) -> None:
    """Print each value on its cell, in black or white, and draw the edges between the
    cells.
    """
    ax = image.axes
    rows, columns = matrix.shape
    for i, j in np.argwhere(np.isfinite(matrix)):
        shade = to_hex(image.cmap(image.norm(matrix[i, j])))
        ink = max(
            "#ffffff", "#000000", key=lambda ink, shade=shade: contrast(ink, shade)
        )
        ax.text(
            j,
            i,
            _print(matrix[i, j], form),
            ha="center",
            va="center",
            color=ink,
            size=9,
        )
    fit = min(1, 0.84 * ax.bbox.width / columns / _widest(ax.texts))
    plt.setp(ax.texts, size=9 * fit)
    ax.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    ax.grid(which="minor", color=SURFACE, linewidth=2)
    ax.set_axisbelow(False)
    ax.tick_params(which="minor", length=0)


def _widest(texts: Iterable[Text]) -> float:
    return max(text.get_window_extent().width for text in texts)


def _known(
    rows: pd.DataFrame, methods: Iterable[str] | None, what: str, others: pd.Series
) -> list[str]:
    """Return the methods to draw, or say which are there."""
    there = list(dict.fromkeys(rows["method"]))
    if not there:
        raise ValueError(
            f"there is no {what}; there is"
            f" {', '.join(map(repr, dict.fromkeys(others))) or 'nothing'}"
        )
    if missing := [method for method in methods or () if method not in there]:
        raise ValueError(
            f"{what}: no method {', '.join(map(repr, missing))}; there is"
            f" {', '.join(map(repr, there))}"
        )
    return list(there if methods is None else methods)


def _join(ax: Axes, methods: Iterable[str]) -> None:
    """Note which arms the figure shows, in all its panels; too many are an error."""
    shown = getattr(ax.figure, "_stages_arms", {}) | dict.fromkeys(methods)
    refuse_crowd(shown)
    ax.figure._stages_arms = shown


def _print(value: float, form: str | Callable[[float], str]) -> str:
    text = form(value) if callable(form) else form.format(value)
    return text.removesuffix(".").replace("-", "\N{MINUS SIGN}")


def _wide(rows: pd.DataFrame, index: str, values: str, what: str) -> pd.DataFrame:
    """Lay tidy rows out with one column a seed, all of it filled."""
    if rows.duplicated([index, "seed"]).any():
        raise ValueError(
            f"{what}: a seed has two values at one {index}; results were merged twice"
        )
    table = rows.pivot(index=index, columns="seed", values=values)
    if table.isna().any(axis=None):
        place, seed = table.isna().stack().idxmax()
        raise ValueError(
            f"{what}: seed {seed} has no value at {index} = {place}, though other seeds"
            " have"
        )
    return table
