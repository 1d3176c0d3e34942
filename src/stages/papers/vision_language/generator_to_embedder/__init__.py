"""Generator to embedder (Ju and Lee 2025): `method` has the prompt, the embedding and
SaHa's mining, `arms`, `scores` and `experiment` the test of its claims.
"""

from stages.papers.vision_language.generator_to_embedder.arms import (
    HardestFirst,
    Settings,
    Shown,
    embed_all,
    make_lab,
)
from stages.papers.vision_language.generator_to_embedder.experiment import PAPER
from stages.papers.vision_language.generator_to_embedder.method import (
    HIERARCHICAL,
    Inputs,
    Pairs,
    Prompt,
    SaHa,
    embed,
    fine_tune,
    info_nce,
    last_token,
)

__all__ = [
    "HIERARCHICAL",
    "PAPER",
    "HardestFirst",
    "Inputs",
    "Pairs",
    "Prompt",
    "SaHa",
    "Settings",
    "Shown",
    "embed",
    "embed_all",
    "fine_tune",
    "info_nce",
    "last_token",
    "make_lab",
]
