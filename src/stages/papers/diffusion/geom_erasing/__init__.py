"""Geom-Erasing (Liu et al. 2024): name the unnamed, and say where it is.

`overlays` are what captions keep silent about, and the detector of training pictures;
`method` writes words for it, weights the loss, fine-tunes and samples; `judging` draws
and scores; `recipe` trains the other detector; `experiment` holds the claims.
"""

from stages.papers.diffusion.geom_erasing.experiment import PAPER
from stages.papers.diffusion.geom_erasing.method import (
    Lessons,
    Recipe,
    cell_weights,
    covered,
    drawn,
    extended,
    fine_tune,
    located,
    named,
    negative,
    pixel_weights,
    written,
)

__all__ = [
    "PAPER",
    "Lessons",
    "Recipe",
    "cell_weights",
    "covered",
    "drawn",
    "extended",
    "fine_tune",
    "located",
    "named",
    "negative",
    "pixel_weights",
    "written",
]
