"""Concept frequency (Udandarao et al. 2024): `method` counts concepts and fits curves,
`corpora` is the world, `scores` and `experiment` the test of its claims.
"""

from stages.papers.vision_language.concept_frequency.corpora import collect
from stages.papers.vision_language.concept_frequency.experiment import (
    PAPER,
    learn,
    named,
    tagged,
)
from stages.papers.vision_language.concept_frequency.method import (
    Hits,
    binned,
    correlation,
    explained,
    fit_line,
    fit_logistic,
    frequencies,
    held_out_error,
    image_hits,
    lemma,
    line,
    text_hits,
    text_index,
    unigrams,
    within_slope,
)

__all__ = [
    "PAPER",
    "Hits",
    "binned",
    "collect",
    "correlation",
    "explained",
    "fit_line",
    "fit_logistic",
    "frequencies",
    "held_out_error",
    "image_hits",
    "learn",
    "lemma",
    "line",
    "named",
    "tagged",
    "text_hits",
    "text_index",
    "unigrams",
    "within_slope",
]
