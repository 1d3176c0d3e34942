"""How the book decides whether a claim holds: claims, outcomes, verdicts, records and sweeps over seeds."""

from stages.evidence.claims import Claim, in_setting
from stages.evidence.outcomes import Outcome, curve_points, tidy_curves, tidy_scores
from stages.evidence.paper import Paper
from stages.evidence.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, effects, interval, judge

__all__ = [
    "CONTRADICTED",
    "INCONCLUSIVE",
    "REPRODUCED",
    "Claim",
    "Finding",
    "Outcome",
    "Paper",
    "curve_points",
    "effects",
    "in_setting",
    "interval",
    "judge",
    "tidy_curves",
    "tidy_scores",
]
