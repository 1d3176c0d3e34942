"""How the book decides whether a claim holds: claims, outcomes, verdicts, records and
sweeps over seeds.
"""

from stages.evidence.claims import Claim, in_setting
from stages.evidence.outcomes import Outcome, curve_points, tidy_curves, tidy_scores
from stages.evidence.paper import Paper
from stages.evidence.records import (
    Record,
    RecordError,
    all_records,
    load_record,
    recorded,
    rejudge,
    save_record,
)
from stages.evidence.sweep import SeedError, SweepError, agreement, live, sweep
from stages.evidence.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    REPRODUCED,
    Finding,
    effects,
    interval,
    judge,
    measured,
)

__all__ = [
    "CONTRADICTED",
    "INCONCLUSIVE",
    "REPRODUCED",
    "Claim",
    "Finding",
    "Outcome",
    "Paper",
    "Record",
    "RecordError",
    "SeedError",
    "SweepError",
    "agreement",
    "all_records",
    "curve_points",
    "effects",
    "in_setting",
    "interval",
    "judge",
    "live",
    "load_record",
    "measured",
    "recorded",
    "rejudge",
    "save_record",
    "sweep",
    "tidy_curves",
    "tidy_scores",
]
