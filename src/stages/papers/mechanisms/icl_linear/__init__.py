"""In-context regression (Akyürek et al. 2023): which estimator a trained transformer
behaves like.

`method` is what the paper asks of a network, `estimators` what it is compared with,
`training` makes the networks, `scores` and `inside` measure them, `experiment` holds
the claims.
"""

from stages.papers.mechanisms.icl_linear.experiment import PAPER
from stages.papers.mechanisms.icl_linear.method import (
    HandWritten,
    Probes,
    Probing,
    distance,
    distances,
    effective_penalty,
    implied,
    probe,
)

__all__ = [
    "PAPER",
    "HandWritten",
    "Probes",
    "Probing",
    "distance",
    "distances",
    "effective_penalty",
    "implied",
    "probe",
]
