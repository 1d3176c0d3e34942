"""What one seed of an experiment yields, and how many seeds become one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass
class Outcome:
    """The result of `run(settings, seed)`: scores for the claims, curves and exhibits
    for the figures.

    `scores` and `curves` are tidy rows and enter the record; `exhibits` (images,
    arrays, anything a figure needs) live only as long as the process does.
    """

    scores: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    exhibits: dict[str, Any] = field(default_factory=dict)

    def score(self, method: str, metric: str, value: float) -> None:
        """Add one number. Raises ValueError for a NaN, an infinity, or a second value
        of the same name.
        """
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(
                f"the {metric} of {method} is {value}: the run diverged, or the metric"
                " is undefined"
            )
        if any(
            row["method"] == method and row["metric"] == metric for row in self.scores
        ):
            raise ValueError(f"the {metric} of {method} is scored twice")
        self.scores.append({"method": method, "metric": metric, "value": value})

    def curve(
        self, method: str, name: str, x: Iterable[float], y: Iterable[float]
    ) -> None:
        """Add one line of a figure: `x` and `y` of one length. Raises ValueError if
        they differ or are not finite.
        """
        x, y = np.asarray(list(x), float), np.asarray(list(y), float)
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(
                f"curve {name} of {method}: x has shape {x.shape} and y {y.shape};"
                " expected one length"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"curve {name} of {method} has values that are not finite")
        self.curves.append(
            {"method": method, "name": name, "x": x.tolist(), "y": y.tolist()}
        )


def tidy_scores(outcomes: Mapping[int, Outcome]) -> pd.DataFrame:
    """Stack the scores of several seeds: columns seed, method, metric, value."""
    rows = [
        {"seed": seed, **row}
        for seed, outcome in outcomes.items()
        for row in outcome.scores
    ]
    return pd.DataFrame(rows, columns=["seed", "method", "metric", "value"])


def tidy_curves(outcomes: Mapping[int, Outcome]) -> pd.DataFrame:
    """Stack the curves of several seeds, one row a point: columns seed, method, name,
    x, y.
    """
    return curve_points(
        {"seed": seed, **row}
        for seed, outcome in outcomes.items()
        for row in outcome.curves
    )


def curve_points(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Unroll rows {seed, method, name, x: [...], y: [...]} into one row a point."""
    table = pd.DataFrame(list(rows), columns=["seed", "method", "name", "x", "y"])
    return table.explode(["x", "y"], ignore_index=True).astype({"x": float, "y": float})
