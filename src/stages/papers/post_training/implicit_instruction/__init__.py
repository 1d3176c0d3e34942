"""Implicit instruction tuning (Hewitt et al. 2024): `method` is the paper's, `arms` has
what is compared, `scores` how answers are judged, `experiment` the test of its claims.
"""

from stages.papers.post_training.implicit_instruction.arms import Arm, Lab, Settings
from stages.papers.post_training.implicit_instruction.experiment import PAPER, make_lab
from stages.papers.post_training.implicit_instruction.method import (
    Rules,
    Training,
    adapted,
    instruction_tuning,
    one_response,
    ranked,
    response_tuning,
    tune,
    write,
)

__all__ = [
    "PAPER",
    "Arm",
    "Lab",
    "Rules",
    "Settings",
    "Training",
    "adapted",
    "instruction_tuning",
    "make_lab",
    "one_response",
    "ranked",
    "response_tuning",
    "tune",
    "write",
]
