"""RFT forgetting (Lai et al. 2025): `method` is the paper's, `tasks` what is learnt and
from which policy, `scores` and `experiment` the test of its claims.
"""

from stages.papers.post_training.rft_forgetting.experiment import PAPER, make_lab
from stages.papers.post_training.rft_forgetting.method import (
    Rollouts,
    Task,
    fisher,
    forgetting_measure,
    grpo,
    imitate,
    imitate_own,
    learn_stage,
    risks,
    roll_out,
)

__all__ = [
    "PAPER",
    "Rollouts",
    "Task",
    "fisher",
    "forgetting_measure",
    "grpo",
    "imitate",
    "imitate_own",
    "learn_stage",
    "make_lab",
    "risks",
    "roll_out",
]
