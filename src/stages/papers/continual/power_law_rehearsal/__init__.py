"""Power-law rehearsal (Gandhi et al. 2024): forgetting is a matter of the environment.

`method` is the paper's schedule and the stream it makes, `learners` the networks and
the baselines that hold weights back, `experiment` what is claimed and how it is judged.
"""

from stages.papers.continual.power_law_rehearsal.experiment import PAPER
from stages.papers.continual.power_law_rehearsal.method import (
    EXPONENTIAL,
    NONE,
    POWER,
    RECENCY,
    UNIFORM,
    Budget,
    Environment,
    counts,
    environments,
    exponential,
    matched_exponential,
    mean_lag,
    power_law,
    recency,
    rehearsals,
    shares,
    stream,
)

__all__ = [
    "EXPONENTIAL",
    "NONE",
    "PAPER",
    "POWER",
    "RECENCY",
    "UNIFORM",
    "Budget",
    "Environment",
    "counts",
    "environments",
    "exponential",
    "matched_exponential",
    "mean_lag",
    "power_law",
    "recency",
    "rehearsals",
    "shares",
    "stream",
]
