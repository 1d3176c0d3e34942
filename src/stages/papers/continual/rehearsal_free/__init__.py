"""Rehearsal-free continual learning (Smith et al. 2023): old penalties, taken apart,
from two starts.

`method` has the losses and the penalties, `learner` what learns by them, `streams` what
is learnt, `experiment` what is claimed and how it is judged, `tuning` how rates and
strengths were chosen.
"""

from stages.papers.continual.rehearsal_free.experiment import PAPER
from stages.papers.continual.rehearsal_free.learner import Arm, Regularised, learn
from stages.papers.continual.rehearsal_free.method import (
    Penalty,
    bce,
    bce_kd,
    draw,
    feature_distance,
    sampled_fisher,
)

__all__ = [
    "PAPER",
    "Arm",
    "Penalty",
    "Regularised",
    "bce",
    "bce_kd",
    "draw",
    "feature_distance",
    "learn",
    "sampled_fisher",
]
