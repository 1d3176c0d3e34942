"""MulKI (Zhang et al. 2024): `method` has its four stages, `rivals` what it is compared
with, `arms`, `scores` and `experiment` the test of its claims.
"""

from stages.papers.vision_language.mulki.arms import Settings, course, make_lab
from stages.papers.vision_language.mulki.experiment import PAPER
from stages.papers.vision_language.mulki.method import (
    Lesson,
    MulKI,
    Teacher,
    View,
    connect,
    disagreement,
    elicit,
    learn,
    prototypes,
    relations,
    trust,
)
from stages.papers.vision_language.mulki.scores import transfer

__all__ = [
    "PAPER",
    "Lesson",
    "MulKI",
    "Settings",
    "Teacher",
    "View",
    "connect",
    "course",
    "disagreement",
    "elicit",
    "learn",
    "make_lab",
    "prototypes",
    "relations",
    "transfer",
    "trust",
]
