"""Gates: conditions without which a paper's claims mean nothing.

The base model works, the baseline fails the way the paper says, there is room between
baseline and ceiling: each is a number with a bound, measured on the recorded seeds and
shown before the verdicts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Gate:
    """One condition: the mean over seeds of a score, or of a difference of two.

    Attributes:
        text: what must hold, in words: "the network learns a task on its own".
        method, metric: the score.
        minus: a method whose score on the same metric is taken off.
        least, most: the bounds, in the metric's unit; one of them at least.
    """

    text: str
    method: str
    metric: str
    minus: str | None = None
    least: float | None = None
    most: float | None = None

    def __post_init__(self):
        if self.least is None and self.most is None:
            raise ValueError(f"the gate {self.text!r} has no bound; give least or most")

    @property
    def bound(self) -> str:
        """The bound in words: "at least 60"."""
        least = None if self.least is None else f"at least {self.least:g}"
        most = None if self.most is None else f"at most {self.most:g}"
        return " and ".join(filter(None, (least, most)))

    def holds(self, value: float) -> bool:
        """Tell whether a value keeps the bounds."""
        low = self.least is None or value >= self.least
        high = self.most is None or value <= self.most
        return low and high


def measure_gates(gates: Iterable[Gate], scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Measure gates on tidy scores; return rows {name, value, bound, met}.

    Raises:
        ValueError: a score that a gate reads is absent for some seed.
    """
    seeds = set(scores["seed"])

    def mean(gate: Gate, method: str) -> float:
        here = (scores["method"] == method) & (scores["metric"] == gate.metric)
        if absent := sorted(seeds - set(scores["seed"][here])):
            raise ValueError(
                f"gate {gate.text!r}: no {gate.metric} of {method!r} for seeds {absent}"
            )
        return float(scores["value"][here].mean())

    rows = []
    for gate in gates:
        value = mean(gate, gate.method)
        if gate.minus is not None:
            value -= mean(gate, gate.minus)
        rows.append(
            {
                "name": gate.text,
                "value": value,
                "bound": gate.bound,
                "met": gate.holds(value),
            }
        )
    return rows


def failed(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the gates that are not met, each with its value and bound."""
    return [
        f"{row['name']}: {row['value']:.3g}, wanted {row['bound']}"
        for row in rows
        if not row["met"]
    ]
