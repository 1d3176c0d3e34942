"""Implicit process rewards (Yuan et al. 2024): `method` is the paper's, `bank` the
solutions that are judged, `rivals` and `arms` what it is compared with, `scores` and
`experiment` the test of its claims.
"""

from stages.papers.post_training.implicit_prm.bank import Solutions, draw, solve
from stages.papers.post_training.implicit_prm.experiment import PAPER, make_lab
from stages.papers.post_training.implicit_prm.method import (
    Training,
    cross_entropy,
    implicit_judge,
    judge_steps,
    log_ratios,
    lowest,
    preferences,
    step_rewards,
    values,
)

__all__ = [
    "PAPER",
    "Solutions",
    "Training",
    "cross_entropy",
    "draw",
    "implicit_judge",
    "judge_steps",
    "log_ratios",
    "lowest",
    "make_lab",
    "preferences",
    "solve",
    "step_rewards",
    "values",
]
