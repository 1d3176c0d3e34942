"""SAMI (Fränken et al. 2024): `method` is the paper's, `queries` what is asked, `arms`
what it is compared with, `scores` and `experiment` the test of its claims.
"""

from stages.papers.post_training.sami.experiment import PAPER, make_base
from stages.papers.post_training.sami.method import (
    Plan,
    Samples,
    align,
    information,
    learn,
    likelihoods,
    over_constitutions,
    over_responses,
    sami,
    two_sided,
)

__all__ = [
    "PAPER",
    "Plan",
    "Samples",
    "align",
    "information",
    "learn",
    "likelihoods",
    "make_base",
    "over_constitutions",
    "over_responses",
    "sami",
    "two_sided",
]
