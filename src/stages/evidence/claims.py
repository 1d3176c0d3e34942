"""What a paper claims, in a form that an experiment can refute.

A claim is fixed before the experiment is tuned. It names an effect, computed once per
seed from the scores of an experiment, and the margin that the effect has to clear.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["superiority", "noninferiority", "equivalence"]


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

    def __post_init__(self):
        if self.kind not in ("superiority", "noninferiority", "equivalence"):
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

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics the claim reads: one, or one a setting of `everywhere`."""
        return tuple(in_setting(self.metric, s) for s in self.everywhere) or (
            self.metric,
        )

    @property
    def comparison(self) -> str:
        """The two sides, for tables: "power law > no rehearsal"."""
        sign = {"superiority": ">", "noninferiority": "≥", "equivalence": "≈"}[
            self.kind
        ]
        if self.lower_is_better:
            sign = {">": "<", "≥": "≤"}.get(sign, sign)
        text = f"{self.better} {sign} {self.worse or '0'}"
        return (
            text
            if self.over is None
            else f"({text}) against ({self.over[0]}, {self.over[1]})"
        )


def in_setting(metric: str, setting: str) -> str:
    """Name the metric as measured in one setting of a robustness grid: "average
    accuracy [20 tasks]".
    """
    return f"{metric} [{setting}]"
