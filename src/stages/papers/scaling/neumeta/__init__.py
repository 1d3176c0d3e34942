"""NeuMeta (Yang & Wang 2024): the weights of every width from one function.

`method` is the order of neurons, the function and its loss, `networks` the rivals and
the loop that trains all of them, `experiment` what is claimed and how it is judged.
"""

from stages.papers.scaling.neumeta.experiment import PAPER
from stages.papers.scaling.neumeta.method import (
    Manifold,
    MovingAverage,
    ResidualMLP,
    coordinates,
    features,
    jitter,
    morph,
    nearest_neighbour,
    neurons,
    path_length,
    permute,
    reconstruction,
    regularisers,
    shapes,
    smooth_order,
    smoothed,
    total_variation,
    two_opt,
)

__all__ = [
    "PAPER",
    "Manifold",
    "MovingAverage",
    "ResidualMLP",
    "coordinates",
    "features",
    "jitter",
    "morph",
    "nearest_neighbour",
    "neurons",
    "path_length",
    "permute",
    "reconstruction",
    "regularisers",
    "shapes",
    "smooth_order",
    "smoothed",
    "total_variation",
    "two_opt",
]
