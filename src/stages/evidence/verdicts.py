"""From paired scores to a verdict.

For each seed the two methods of a claim saw the same data, so the effect is the mean of
the per-seed differences, with Student's interval around it. The verdict is what that
interval says; `RULE` tells how, in the words that the book's pages use.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from stages.evidence.claims import Claim, in_setting
from stages.paths import PACKAGE

LEVEL = 0.95  # of an interval that decides nothing
REPRODUCED, INCONCLUSIVE, CONTRADICTED = "reproduced", "inconclusive", "contradicted"
RULE = (PACKAGE / "evidence/rule.md").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Finding:
    """A claim measured: the mean effect, its interval and what that says.

    `level` is the interval's. `verdict` is empty for what is only measured.
    `setting` names the weakest one of a claim that must hold everywhere, of those that
    refute it if any do; it is empty otherwise.
    """

    key: str
    verdict: str
    effect: float
    low: float
    high: float
    level: float
    seeds: int
    setting: str = ""

    def row(self) -> dict:
        """The finding as a flat dictionary, as it stands in a record."""
        return asdict(self)


def effects(claim: Claim, scores: pd.DataFrame, metric: str | None = None) -> pd.Series:
    """Compute the claim's effect for each seed, indexed by seed; positive favours the
    claim.

    Args:
        scores: tidy rows with columns seed, method, metric, value.
        metric: which of `claim.metrics` to read; the first by default.

    Raises:
        ValueError: a score is absent for some seed, doubled, or not finite; the message
            says which.
    """
    metric = metric or claim.metrics[0]
    rows = scores[scores["metric"] == metric]
    if rows.duplicated(["seed", "method"]).any():
        raise ValueError(
            f"claim {claim.key}: a seed has two values of {metric}; results were merged"
            " twice"
        )
    table = rows.pivot(index="seed", columns="method", values="value").reindex(
        sorted(scores["seed"].unique())
    )

    def column(method: str) -> pd.Series:
        if method not in table:
            raise ValueError(
                f"claim {claim.key}: no {metric} of {method!r} among the scores:"
                f" {sorted(table.columns)}"
            )
        if bad := table.index[~np.isfinite(table[method].astype(float))].tolist():
            raise ValueError(
                f"claim {claim.key}: the {metric} of {method} is missing or not finite"
                f" for seeds {bad}"
            )
        return table[method].astype(float)

    effect = column(claim.better) - (column(claim.worse) if claim.worse else 0.0)
    if claim.over:
        effect = effect - (column(claim.over[0]) - column(claim.over[1]))
    return (-effect if claim.lower_is_better else effect).rename("effect")


def measured(claims: Iterable[Claim], scores: pd.DataFrame) -> list[Claim]:
    """Return the claims that the scores speak of: all that they compare is there for
    some seed.

    A small profile may leave out the methods of some claims, and settings of a claim
    that must hold everywhere; such a claim is returned for the settings that are there.
    """
    there = set(zip(scores["method"], scores["metric"], strict=True))

    def holds(claim: Claim, metric: str) -> bool:
        return all((method, metric) in there for method in claim.methods)

    found = []
    for claim in claims:
        kept = tuple(
            s for s in claim.everywhere if holds(claim, in_setting(claim.metric, s))
        )
        if kept or (not claim.everywhere and holds(claim, claim.metric)):
            found.append(replace(claim, everywhere=kept))
    return found


def interval(
    effect: Sequence[float], level: float = LEVEL
) -> tuple[float, float, float]:
    """Return the mean of `effect` and Student's `level` interval around it.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    values = np.asarray(effect, float)
    if values.size < 2:
        raise ValueError(
            f"an interval needs at least two seeds; there is {values.size}"
        )
    if not np.isfinite(values).all():
        raise ValueError("an effect is not finite")
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(values.size)
    reach = stats.t.ppf(0.5 + level / 2, values.size - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


def judge(claims: Iterable[Claim], scores: pd.DataFrame) -> list[Finding]:
    """Judge claims on tidy scores (columns seed, method, metric, value) by `RULE`."""
    return [_weakest(claim, scores, claim.level, decided=True) for claim in claims]


def estimate(
    claims: Iterable[Claim], scores: pd.DataFrame, level: float = LEVEL
) -> list[Finding]:
    """Measure comparisons that get no verdict; their intervals are at `level`."""
    return [_weakest(claim, scores, level, decided=False) for claim in claims]


def by_luck(claims: Iterable[Claim]) -> float:
    """Return how many claims would be reproduced by luck, were none of them true.

    A true effect that lies exactly at the margin is the worst case: its interval then
    lies beyond the margin in half of the cases in which it misses it.
    """
    return sum((1 - claim.level) / 2 for claim in claims)


def verdict(claim: Claim, low: float, high: float) -> str:
    """Return what an interval says of a claim, by `RULE`."""
    least, most = claim.bounds
    if low > least and high < most:
        return REPRODUCED
    wrong = min(least, 0.0)  # below this line lies what refutes the claim
    if high < wrong or low > most:
        return CONTRADICTED
    return INCONCLUSIVE


def _weakest(
    claim: Claim, scores: pd.DataFrame, level: float, decided: bool
) -> Finding:
    """Measure a claim in each of its settings; return the weakest."""
    found = []
    for metric, setting in zip(claim.metrics, claim.everywhere or ("",), strict=True):
        effect = effects(claim, scores, metric).to_numpy()
        mean, low, high = interval(effect, level)
        said = verdict(claim, low, high) if decided else ""
        found.append(
            Finding(claim.key, said, mean, low, high, level, effect.size, setting)
        )
    refuted = [finding for finding in found if finding.verdict == CONTRADICTED]
    return min(refuted or found, key=lambda finding: _slack(claim, finding))


def _slack(claim: Claim, finding: Finding) -> float:
    """By how much an interval keeps the claim's bounds; negative where it does not."""
    least, most = claim.bounds
    return min(finding.low - least, most - finding.high)
