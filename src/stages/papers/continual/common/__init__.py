"""What the papers on continual learning share: streams of tasks, task loops, penalties, prompts, and their measures."""

from stages.papers.continual.common.metrics import final_average, forgetting, worst_task
from stages.papers.continual.common.stacked import (
    EWC,
    SI,
    History,
    Penalties,
    Tasks,
    diagonal_fisher,
    free,
    learn,
    permuted_digits,
)

__all__ = [
    "EWC",
    "SI",
    "History",
    "Penalties",
    "Tasks",
    "diagonal_fisher",
    "final_average",
    "forgetting",
    "free",
    "learn",
    "permuted_digits",
    "worst_task",
]
