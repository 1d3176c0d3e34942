"""TSC-style fast and slow weights (our reconstruction of Wang et al. 2021).

`method` is the two sets of weights and how each is consolidated, `training` the tasks
and the ways to learn them, `scores` what is measured, `experiment` what is claimed and
how it is judged.
"""

from stages.papers.continual.brain_inspired_fewshot.experiment import PAPER
from stages.papers.continual.brain_inspired_fewshot.method import (
    Strengths,
    TwoSets,
    class_means,
    consolidate_fast,
    consolidate_slow,
    embed,
    fast_step,
    fisher,
    learn_task,
    per_layer,
    ties,
)

__all__ = [
    "PAPER",
    "Strengths",
    "TwoSets",
    "class_means",
    "consolidate_fast",
    "consolidate_slow",
    "embed",
    "fast_step",
    "fisher",
    "learn_task",
    "per_layer",
    "ties",
]
