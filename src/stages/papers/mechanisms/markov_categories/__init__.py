"""A Markov categorical framework for language modeling (Zhang 2025), on a source whose
laws are known.

`method` is the theory as functions; `training` makes the networks of all arms; `lab`
reads their states; `scores`, `geometry` and `drafts` measure them; `experiment` holds
the claims.
"""

from stages.papers.mechanisms.markov_categories.experiment import PAPER
from stages.papers.mechanisms.markov_categories.method import (
    UnitHead,
    Whiten,
    canonical,
    categorical_entropy,
    dirichlet_energy,
    kl,
    overlap,
    pullback_metric,
    surplus,
)

__all__ = [
    "PAPER",
    "UnitHead",
    "Whiten",
    "canonical",
    "categorical_entropy",
    "dirichlet_energy",
    "kl",
    "overlap",
    "pullback_metric",
    "surplus",
]
