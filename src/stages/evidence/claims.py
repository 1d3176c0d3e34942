"""What a paper claims, in a form that an experiment can refute.

A claim is fixed before the experiment is tuned. It names an effect, computed once per
seed from the scores of an experiment, and the margin that the effect has to clear.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["superiority", "noninferiority", "equivalence"]
KINDS = ("superiority", "noninferiority", "equivalence")
Origin = Literal["paper", "ours"]
HEADLINE = "C1"


@dataclass(frozen=True)
class Claim:
    """One comparison that can come out reproduced, inconclusive or contradicted.

    The effect of a seed is `score[better] - score[worse]` on `metric`, with its sign
    turned when a lower score is the better one. Without `worse` the score of `better`
    is compared with zero. With `over`, the claim is about an interaction: the effect is
    (better - worse) minus the same difference between the two methods of `over`.

    Attributes:
        key: "C1" is the paper's headline; parts of one claim are "C3a", "C3b".
        text: the claim in our own words.
        metric: the name of a score.
        better, worse: methods; `worse=None` compares `better` with zero.
        margin: in units of the metric, never negative. *Superiority* needs an effect
            above it, *noninferiority* ("at least as good") an effect above minus it,
            *equivalence* ("comparable") an effect within plus or minus it.
        kind: one of those three.
        over: two methods whose difference is taken off, for an interaction claim.
        everywhere: settings in each of which the claim has to hold. The scores are then
            those of the metric "`metric` [`setting`]", and the verdict is that of the
            weakest setting.
        lower_is_better: whether a smaller score is the better one.
        reported: what the paper reports.
        origin: whether the claim is the paper's, or the book's own ("ours").
    """

    key: str
    text: str
    metric: str
    better: str
    worse: str | None = None
    margin: float = 0.0
    kind: Kind = "superiority"
    over: tuple[str, str] | None = None
    everywhere: tuple[str, ...] = ()
    lower_is_better: bool = False
    reported: str = "not found"
    origin: Origin = "paper"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"claim {self.key}: kind is {self.kind!r}; expected superiority,"
                " noninferiority or equivalence"
            )
        if self.margin < 0:
            raise ValueError(
                f"claim {self.key}: the margin is {self.margin}; give its size, without"
                " a sign"
            )
        if self.kind != "superiority" and self.margin == 0:
            raise ValueError(
                f"claim {self.key}: a claim of {self.kind} needs a margin above zero"
            )
        if self.over is not None and len(self.over) != 2:
            raise ValueError(
                f"claim {self.key}: `over` takes two methods, not {len(self.over)}"
            )
        if self.origin not in ("paper", "ours"):
            raise ValueError(
                f"claim {self.key}: origin is {self.origin!r}; expected paper or ours"
            )

    @property
    def level(self) -> float:
        """The level of the interval that decides: 95 % for C1, 99 % for the others."""
        return 0.95 if self.key == HEADLINE else 0.99

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the whole interval has to lie for the claim to be reproduced."""
        if self.kind == "equivalence":
            return -self.margin, self.margin
        if self.kind == "noninferiority":
            return -self.margin, float("inf")
        return self.margin, float("inf")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics the claim reads: one, or one a setting of `everywhere`."""
        return tuple(in_setting(self.metric, s) for s in self.everywhere) or (
            self.metric,
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the claim compares."""
        return tuple(filter(None, (self.better, self.worse, *(self.over or ()))))

    @property
    def comparison(self) -> str:
        """The two sides, for tables: "power law > no rehearsal"."""
        sign = {"superiority": ">", "noninferiority": "≥", "equivalence": "≈"}[
            self.kind
        ]
        if self.lower_is_better:
            sign = {">": "<", "≥": "≤"}.get(sign, sign)
        text = f"{self.better} {sign} {self.worse or '0'}"
        if self.over is None:
            return text
        return f"({text}) against ({self.over[0]}, {self.over[1]})"


def in_setting(metric: str, setting: str) -> str:
    """Name the metric as measured in one setting of a robustness grid: "average
    accuracy [20 tasks]".
    """
    return f"{metric} [{setting}]"


def divide(
    comparisons: Iterable[Claim], *headlines: str
) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """Divide comparisons into the claims of these keys, and what else is measured.

    Raises:
        ValueError: there is no comparison of some key.
    """
    comparisons = tuple(comparisons)
    keys = [claim.key for claim in comparisons]
    if missing := [key for key in headlines if key not in keys]:
        raise ValueError(f"no claim {', '.join(missing)} among {', '.join(keys)}")
    claims = tuple(claim for claim in comparisons if claim.key in headlines)
    return claims, tuple(claim for claim in comparisons if claim.key not in headlines)
