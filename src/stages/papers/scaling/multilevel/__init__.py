"""Multilevel training (Zou et al. 2024): a small network learns for the large one.

`method` has the maps between sizes and the V-cycle, `training` the account of FLOPs,
`experiment` what is claimed and how it is judged.
"""

from stages.papers.scaling.multilevel.experiment import PAPER
from stages.papers.scaling.multilevel.method import (
    coalesce,
    coalescing,
    decoalesce,
    decoalescing,
    double_depth,
    halve_depth,
    interpolate,
    normalise_rows,
    resize_layer,
    resize_width,
    v_cycle,
)

__all__ = [
    "PAPER",
    "coalesce",
    "coalescing",
    "decoalesce",
    "decoalescing",
    "double_depth",
    "halve_depth",
    "interpolate",
    "normalise_rows",
    "resize_layer",
    "resize_width",
    "v_cycle",
]
