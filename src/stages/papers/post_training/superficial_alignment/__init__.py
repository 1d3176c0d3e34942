"""Superficial alignment (Raghavendra et al. 2024): `method` is the paper's protocol,
`tasks` what copies of a base are fine-tuned on, `experiment` the test of its claims.
"""

from stages.papers.post_training.superficial_alignment.experiment import PAPER
from stages.papers.post_training.superficial_alignment.method import (
    FORMS,
    Tuning,
    answer_loss,
    extrapolated,
    fine_tune,
    fit_law,
    nested,
    power,
    saturating,
    share_reached,
    step,
)

__all__ = [
    "FORMS",
    "PAPER",
    "Tuning",
    "answer_loss",
    "extrapolated",
    "fine_tune",
    "fit_law",
    "nested",
    "power",
    "saturating",
    "share_reached",
    "step",
]
