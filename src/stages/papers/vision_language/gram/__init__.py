"""GRAM (Li et al. 2023): `pseudo_tasks` makes tasks out of raw pairs, `method`
meta-learns a prompt and a map of gradients from them; `rivals` has what it is compared
with, `arms`, `scores` and `experiment` the test of its claims.
"""

from stages.papers.vision_language.gram.arms import Settings, make_lab
from stages.papers.vision_language.gram.experiment import PAPER
from stages.papers.vision_language.gram.method import (
    Regulator,
    adapt,
    gradient,
    likeness,
    losses,
    meta_train,
    move,
    outer_loss,
)
from stages.papers.vision_language.gram.pseudo_tasks import (
    Pairs,
    Tasks,
    Topic,
    draw_tasks,
    organise,
)
from stages.papers.vision_language.gram.rivals import Affine, Raw, pretune

__all__ = [
    "PAPER",
    "Affine",
    "Pairs",
    "Raw",
    "Regulator",
    "Settings",
    "Tasks",
    "Topic",
    "adapt",
    "draw_tasks",
    "gradient",
    "likeness",
    "losses",
    "make_lab",
    "meta_train",
    "move",
    "organise",
    "outer_loss",
    "pretune",
]
