"""From paired scores to a verdict.

For each seed the two methods of a claim saw the same data, so the effect is the mean of
the per-seed differences, and its 95 % interval is Student's. A claim is *reproduced*
when the interval lies wholly beyond the claim's margin, *contradicted* when it lies
wholly on the wrong side of zero (or of the margin, where that is further off), and
*inconclusive* otherwise. Testing many claims finds something by luck alone, so the
p-values of a paper's claims are corrected by Holm's method, and a verdict other than
*inconclusive* needs a corrected p below 0.05 as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from stages.evidence.claims import Claim, in_setting

LEVEL = 0.95
REPRODUCED, INCONCLUSIVE, CONTRADICTED = "reproduced", "inconclusive", "contradicted"


@dataclass(frozen=True)
class Finding:
    """A claim measured: the mean effect, its 95 % interval, both p-values and the
    verdict.

    `p` is the two-sided p-value of the verdict's side; `p_holm` is `p` after Holm's
    correction over all claims judged together. `setting` names the weakest one of a
    claim that must hold everywhere, of those that refute it if any do; it is empty
    otherwise.
    """

    key: str
    verdict: str
    effect: float
    low: float
    high: float
    p: float
    p_holm: float
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
        methods = (
            claim.better,
            *((claim.worse,) if claim.worse else ()),
            *(claim.over or ()),
        )
        return all((method, metric) in there for method in methods)

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


def _tail(mean: float, error: float, bound: float, freedom: int) -> float:
    """Two-sided p-value for "the mean lies above `bound`": below 0.05 exactly when the
    95 % interval clears it.
    """
    if error == 0.0:
        return 0.0 if mean > bound else 1.0
    return float(min(1.0, 2 * stats.t.sf((mean - bound) / error, freedom)))


def _p_values(claim: Claim, effect: np.ndarray) -> tuple[float, float]:
    """Return the p-values for the claim and against it."""
    mean, error, freedom = (
        effect.mean(),
        effect.std(ddof=1) / np.sqrt(effect.size),
        effect.size - 1,
    )

    def above(bound: float) -> float:
        return _tail(mean, error, bound, freedom)

    def below(bound: float) -> float:
        return _tail(-mean, error, -bound, freedom)

    if (
        claim.kind == "equivalence"
    ):  # two one-sided tests; refuted by an effect beyond either margin
        return max(above(-claim.margin), below(claim.margin)), min(
            above(claim.margin), below(-claim.margin)
        )
    if claim.kind == "noninferiority":
        return above(-claim.margin), below(-claim.margin)
    return above(claim.margin), below(0.0)


def _measure(claim: Claim, scores: pd.DataFrame) -> tuple[dict, bool]:
    """Return the numbers of one claim before Holm's correction, and whether its p-value
    speaks for the claim.
    """
    settings = claim.everywhere or ("",)
    per_setting = [
        effects(claim, scores, metric).to_numpy() for metric in claim.metrics
    ]
    intervals = [interval(effect) for effect in per_setting]
    pairs = [_p_values(claim, effect) for effect in per_setting]
    # Everywhere: the claim needs all settings (the largest p); one setting refutes it
    # (the smallest, Bonferroni).
    p_for = max(p for p, _ in pairs)
    p_against = min(1.0, len(pairs) * min(p for _, p in pairs))
    refuted = [
        i for i, (_, against) in enumerate(pairs) if len(pairs) * against < 1 - LEVEL
    ]
    shown = max(
        refuted or range(len(pairs)),
        key=lambda i: (pairs[i][0], -per_setting[i].mean()),
    )
    effect, low, high = intervals[shown]
    numbers = {
        "key": claim.key,
        "effect": effect,
        "low": low,
        "high": high,
        "p": min(p_for, p_against),
    }
    return (
        numbers
        | {
            "seeds": len(per_setting[shown]),
            "setting": settings[shown],
        },
        p_for < p_against,
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for testing several claims at once (Holm, 1979); the order is
    kept.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(p_values.size, 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected


def judge(claims: Iterable[Claim], scores: pd.DataFrame) -> list[Finding]:
    """Judge a paper's claims together on tidy scores (columns seed, method, metric,
    value); see the module's text.
    """
    measures = [_measure(claim, scores) for claim in claims]
    corrected = holm([numbers["p"] for numbers, _ in measures])
    findings = []
    for (numbers, favours), p_holm in zip(measures, corrected, strict=True):
        decided = p_holm < 1 - LEVEL
        verdict = (REPRODUCED if favours else CONTRADICTED) if decided else INCONCLUSIVE
        findings.append(Finding(verdict=verdict, p_holm=float(p_holm), **numbers))
    return findings
