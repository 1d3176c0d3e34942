"""How networks are trained: one loop, schedules, and many small networks at once."""

from stages.training.loop import constant, cosine, fit, optimiser, pick_device
from stages.training.losses import next_token_loss
from stages.training.probes import (
    cka,
    effective_rank,
    leading_subspace,
    r2,
    ridge,
    subspace_overlap,
)
from stages.training.stacked import StackedMLP, stacked_accuracy, stacked_cross_entropy

__all__ = [
    "StackedMLP",
    "cka",
    "constant",
    "cosine",
    "effective_rank",
    "fit",
    "leading_subspace",
    "next_token_loss",
    "optimiser",
    "pick_device",
    "r2",
    "ridge",
    "stacked_accuracy",
    "stacked_cross_entropy",
    "subspace_overlap",
]
