"""Score implicit matching (Luo et al. 2024): a diffusion model distilled to one step.

`method` is the loss and how a student is trained, `rivals` what it is compared with,
`scores` how images are judged, `experiment` what is claimed.
"""

from stages.papers.diffusion.score_implicit_matching.experiment import PAPER
from stages.papers.diffusion.score_implicit_matching.method import (
    Answers,
    Recipe,
    Student,
    ask,
    distil,
    generator_levels,
    implicit,
    inner,
    pseudo_huber,
    squared,
)
from stages.papers.diffusion.score_implicit_matching.rivals import (
    diff_instruct,
    identity_distillation,
    naive,
    pairs,
    regress,
    teacher_calls,
)

__all__ = [
    "PAPER",
    "Answers",
    "Recipe",
    "Student",
    "ask",
    "diff_instruct",
    "distil",
    "generator_levels",
    "identity_distillation",
    "implicit",
    "inner",
    "naive",
    "pairs",
    "pseudo_huber",
    "regress",
    "squared",
    "teacher_calls",
]
