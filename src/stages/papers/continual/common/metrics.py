"""What a learner of tasks is measured by.

An accuracy matrix R[n, i] holds the accuracy on task i after phase n, in per cent. One
made of logits has to say among which classes the answer is sought, for a growing choice
lowers accuracy without anything being forgotten.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Matrix = Float[Tensor, "*members phases tasks"]


def final_average(
    accuracy: Float[Tensor, "*members phases tasks"],
) -> Float[Tensor, "*members"]:
    """Return A_N = 1/N Σ_i R[N,i]: the mean over tasks after the last phase; R[n,i] is
    of task i after phase n.
    """
    return accuracy[..., -1, :].mean(-1)


def worst_task(
    accuracy: Float[Tensor, "*members phases tasks"],
) -> Float[Tensor, "*members"]:
    """Return the lowest accuracy of any task after the last phase."""
    return accuracy[..., -1, :].amin(-1)


def forgetting(
    accuracy: Float[Tensor, "*members phases tasks"],
) -> Float[Tensor, "*members"]:
    """Return 1/(N-1) Σ_{i<N} (max_n R[n,i] - R[N,i]): how far each task but the last
    fell from its best.
    """
    older = accuracy[..., :-1]
    return (older.amax(-2) - older[..., -1, :]).mean(-1)


def average_so_far(accuracy: Matrix) -> Float[Tensor, "*members phases"]:
    """Return A_n = 1/n Σ_{i<=n} R[n,i] after each phase."""
    phases = torch.arange(1, accuracy.shape[-2] + 1, device=accuracy.device)
    return accuracy.tril().sum(-1) / phases


def new_task(accuracy: Matrix) -> Float[Tensor, "*members"]:
    """Return 1/N Σ_n R[n,n]: the mean accuracy on each task when it was just learnt."""
    return accuracy.diagonal(dim1=-2, dim2=-1).mean(-1)


def global_forgetting(accuracy: Matrix) -> Float[Tensor, "*members"]:
    """Return 1/(N-1) Σ_{i=2..N} Σ_{n<i} 1/i (R[n,n] - R[i,n]) for tasks of equal size
    (Smith et al. 2023).

    Give it the matrix of the answers among the classes known when a task was learnt
    (`among="then"`).
    """
    phases = accuracy.shape[-2]
    learnt = accuracy.diagonal(dim1=-2, dim2=-1)[..., None, :]
    fall = (learnt - accuracy).tril(-1).sum(-1) / torch.arange(
        1, phases + 1, device=accuracy.device
    )
    return fall[..., 1:].sum(-1) / (phases - 1)


def local_forgetting(accuracy: Matrix) -> Float[Tensor, "*members"]:
    """Return 1/(N-1) Σ_{n<N} (A[N,n] - A[n,n]) (Smith et al. 2023): negative where
    something was forgotten.

    Give it the matrix of the answers among a task's own classes (`among="own"`).
    """
    older = accuracy.diagonal(dim1=-2, dim2=-1)[..., :-1]
    return (accuracy[..., -1, :-1] - older).mean(-1)


Logits = Float[Tensor, "phases test classes"]


def accuracy_matrix(
    logits: Logits,
    labels: Int[Tensor, " test"],
    ways: int,
    among: Literal["seen", "then", "own"] = "seen",
) -> Float[Tensor, "phases tasks"]:
    """Return R[n, i] in per cent from the logits on one test set after each phase.

    Args:
        ways: classes of each task.
        among: which classes may be the answer: those of tasks 1..n ("seen"; a task not
            yet learnt then has 0), of tasks 1..i ("then": when task i was learnt), or
            of task i ("own": the task is named).
    """
    phases, _, classes = logits.shape
    owner = torch.arange(classes, device=logits.device) // ways
    task = labels // ways
    allowed = {
        "seen": (owner <= torch.arange(phases, device=logits.device)[:, None])[:, None],
        "then": (owner <= task[:, None])[None],
        "own": (owner == task[:, None])[None],
    }[among]
    right = (logits.masked_fill(~allowed, -torch.inf).argmax(-1) == labels).float()
    return 100 * torch.stack(
        [right[:, task == i].mean(1) for i in range(classes // ways)], 1
    )


@dataclass(frozen=True)
class Mistakes:
    """Where the answers after the last phase go wrong, in per cent of all test
    pictures; `recency` is in tasks.
    """

    cross_task: float  # a class of another task
    within_task: float  # another class of the right task
    recency: float  # the mean number of tasks by which the answer is too late


def mistakes(
    logits: Float[Tensor, "test classes"], labels: Int[Tensor, " test"], ways: int
) -> Mistakes:
    """Split the errors of the final answers into those across tasks and those within
    one.
    """
    answer = logits.argmax(-1)
    late = answer // ways - labels // ways
    wrong = (late == 0) & (answer != labels)
    return Mistakes(
        *(100 * part.float().mean().item() for part in (late != 0, wrong)),
        recency=late.float().mean().item(),
    )
