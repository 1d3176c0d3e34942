"""OVOR (Huang et al. 2024): one prompt for all tasks, virtual outliers for the head.

`method` is energy, outliers, the regulariser and the second stage; `first_stage` what
comes before it; `scores` what is measured beside the scores of every stream;
`experiment` what is claimed and how it is judged.
"""

from stages.papers.continual.common.prompts import OnePrompt
from stages.papers.continual.ovor.experiment import PAPER
from stages.papers.continual.ovor.first_stage import Learnt, Rows, first_stage
from stages.papers.continual.ovor.method import (
    Stage,
    Terms,
    energy,
    hinge,
    kth_distance,
    level,
    outliers_of,
    regularise,
    regularise_task,
    regulariser,
    virtual_outliers,
)

__all__ = [
    "PAPER",
    "Learnt",
    "OnePrompt",
    "Rows",
    "Stage",
    "Terms",
    "energy",
    "first_stage",
    "hinge",
    "kth_distance",
    "level",
    "outliers_of",
    "regularise",
    "regularise_task",
    "regulariser",
    "virtual_outliers",
]
