"""How the book decides whether a claim holds: claims, gates, outcomes, verdicts,
records and sweeps over seeds.
"""

from stages.evidence.claims import Claim, divide, in_setting
from stages.evidence.gates import Gate
from stages.evidence.outcomes import Outcome, curve_points, tidy_curves, tidy_scores
from stages.evidence.paper import Paper
from stages.evidence.probe import probe
from stages.evidence.records import (
    Record,
    RecordError,
    all_records,
    load_record,
    recorded,
    rejudge,
    save_record,
)
from stages.evidence.restamp import RestampError, check_probe, restamp
from stages.evidence.sweep import SeedError, SweepError, agreement, live, sweep
from stages.evidence.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    REPRODUCED,
    RULE,
    Finding,
    by_luck,
    effects,
    estimate,
    interval,
    judge,
    measured,
)

__all__ = [
    "CONTRADICTED",
    "INCONCLUSIVE",
    "REPRODUCED",
    "RULE",
    "Claim",
    "Finding",
    "Gate",
    "Outcome",
    "Paper",
    "Record",
    "RecordError",
    "RestampError",
    "SeedError",
    "SweepError",
    "agreement",
    "all_records",
    "by_luck",
    "check_probe",
    "curve_points",
    "divide",
    "effects",
    "estimate",
    "in_setting",
    "interval",
    "judge",
    "live",
    "load_record",
    "measured",
    "probe",
    "recorded",
    "rejudge",
    "restamp",
    "save_record",
    "sweep",
    "tidy_curves",
    "tidy_scores",
]
