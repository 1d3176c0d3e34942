"""SITE (Park and Rhee 2025): `method` is the paper's, `prompts` what it reads, `rivals`
and `arms` what it is compared with, `scores` and `experiment` the test of its claims.
"""

from stages.papers.mechanisms.soft_injection.arms import Lab
from stages.papers.mechanisms.soft_injection.experiment import PAPER, make_lab
from stages.papers.mechanisms.soft_injection.method import (
    Learnt,
    Training,
    embed,
    inject,
    learn,
    mixed,
    select,
)
from stages.papers.mechanisms.soft_injection.prompts import Prompts

__all__ = [
    "PAPER",
    "Lab",
    "Learnt",
    "Prompts",
    "Training",
    "embed",
    "inject",
    "learn",
    "make_lab",
    "mixed",
    "select",
]
