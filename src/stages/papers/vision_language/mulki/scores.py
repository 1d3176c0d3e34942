"""What is scored: the metrics of an accuracy matrix A, whose row t holds the accuracy
on each task, learnt or not, after learning task t.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome
from stages.worlds import album

TRANSFER, AVERAGE, LAST, BOTH = "Transfer", "Avg", "Last", "mean of Transfer and Last"
NEW, LOWEST, HIGHEST = "task just learnt", "weakest task", "best task"
TRUST = "weight of the previous model"
Matrix = Float[Tensor, "tasks tasks"]


def transfer(accuracy: Matrix) -> float:
    """Return the accuracy on each task but the first, before it is learnt: a mean over
    the models until then, and over tasks.
    """
    before = [accuracy[:task, task].mean() for task in range(1, len(accuracy))]
    return torch.stack(before).mean().item()


def course_name(task: int) -> str:
    """Name the curve of the accuracy on a task, by the number of tasks learnt."""
    return f"accuracy on {album.TASKS[task].name}"


def score(
    outcome: Outcome, arm: str, start: Float[Tensor, " tasks"], accuracy: Matrix
) -> None:
    """Score an arm, and keep its matrix as curves that begin at the base model."""
    found, last = transfer(accuracy), accuracy[-1].mean().item()
    outcome.score(arm, TRANSFER, found)
    outcome.score(arm, AVERAGE, accuracy.mean())
    outcome.score(arm, LAST, last)
    outcome.score(arm, BOTH, (found + last) / 2)
    outcome.score(arm, NEW, accuracy.diagonal().mean())
    rows = torch.cat([start[None], accuracy])
    for task, column in enumerate(rows.T.tolist()):
        outcome.curve(arm, course_name(task), range(len(rows)), column)


def score_start(outcome: Outcome, arm: str, start: Float[Tensor, " tasks"]) -> None:
    """Score the base model, which does not change."""
    still = start.expand(len(start), -1)
    outcome.score(arm, TRANSFER, transfer(still))
    outcome.score(arm, LAST, start.mean())
    outcome.score(arm, LOWEST, start.min())
    outcome.score(arm, HIGHEST, start.max())
