"""Task curriculum (Kim et al. 2025): the noisiest timesteps first.

`method` is the clusters, the pacing and the curriculum, `training` the rivals and the
loop that trains all arms, `experiment` what is claimed and how it is judged.
"""

from stages.papers.diffusion.task_curriculum.experiment import PAPER
from stages.papers.diffusion.task_curriculum.method import (
    Curriculum,
    Interval,
    Patience,
    Reverse,
    clusters,
    log_density,
    relative_entropy,
)

__all__ = [
    "PAPER",
    "Curriculum",
    "Interval",
    "Patience",
    "Reverse",
    "clusters",
    "log_density",
    "relative_entropy",
]
