"""How networks are trained: one loop, schedules, and many small networks at once."""

from stages.training.loop import constant, cosine, fit, optimiser, pick_device
from stages.training.stacked import StackedMLP, stacked_accuracy, stacked_cross_entropy

__all__ = [
    "StackedMLP",
    "constant",
    "cosine",
    "fit",
    "optimiser",
    "pick_device",
    "stacked_accuracy",
    "stacked_cross_entropy",
]
