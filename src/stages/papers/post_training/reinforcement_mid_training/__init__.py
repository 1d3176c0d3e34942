"""Reinforcement mid-training (Tian et al. 2025): `method` is the paper's, `prose` its
texts and thoughts, `start` the model it starts from, `arms` what it is compared with,
`scores` and `experiment` the test of its claims.
"""

from stages.papers.post_training.reinforcement_mid_training.arms import (
    Arm,
    Lab,
    Settings,
)
from stages.papers.post_training.reinforcement_mid_training.experiment import (
    ARMS,
    PAPER,
)
from stages.papers.post_training.reinforcement_mid_training.method import (
    Budget,
    Curriculum,
    Objective,
    Rollouts,
    entropies,
    learn_from,
    length_reward,
    mid_train,
    read_on,
    reinforce,
    rewards,
    roll_out,
)
from stages.papers.post_training.reinforcement_mid_training.prose import Positions
from stages.papers.post_training.reinforcement_mid_training.start import Start

__all__ = [
    "ARMS",
    "PAPER",
    "Arm",
    "Budget",
    "Curriculum",
    "Lab",
    "Objective",
    "Positions",
    "Rollouts",
    "Settings",
    "Start",
    "entropies",
    "learn_from",
    "length_reward",
    "mid_train",
    "read_on",
    "reinforce",
    "rewards",
    "roll_out",
]
