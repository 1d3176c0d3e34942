"""Teaching arithmetic (Lee et al. 2024): what a training line looks like decides how
many of them addition takes.

`method` writes sums in the paper's four formats; `arms` adds random labels; `training`
trains, asks and marks; `completion` is the other reading, a table of low rank; `scores`
measures; `experiment` holds the claims.
"""

from stages.papers.mechanisms.arithmetic.experiment import PAPER
from stages.papers.mechanisms.arithmetic.method import (
    FORMATS,
    add,
    answer_loss,
    detailed,
    plain,
    reverse,
    seen_carry,
    simplified,
    write,
)

__all__ = [
    "FORMATS",
    "PAPER",
    "add",
    "answer_loss",
    "detailed",
    "plain",
    "reverse",
    "seen_carry",
    "simplified",
    "write",
]
