"""Step (a): the prompt and the head learn each task, and what the later steps need is
kept: features, the task's rows of the head, Adam's memory.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.papers.continual.common import loop
from stages.papers.continual.common.loop import Budget, falling
from stages.papers.continual.common.prompts import Prompted
from stages.papers.continual.common.streams import Stream
from stages.training import fit, optimiser


class Rows(NamedTuple):
    """Rows of one linear head, or of several side by side."""

    weight: Float[Tensor, "*arms classes d"]
    bias: Float[Tensor, "*arms classes"]

    def logits(self, features: Float[Tensor, "*arms n d"]) -> Tensor:
        """Return the logits, of any arms, (..., n, classes)."""
        return features @ self.weight.mT + self.bias[..., None, :]


@dataclass(frozen=True)
class Learnt:
    """What step (a) leaves of one task.

    Attributes:
        own, labels: features of its training images as the prompt is now, and their
            classes, counted within the task.
        test: features of all test images under the same prompt.
        rows, memory: the task's rows of the head, and what Adam remembers of them.
        order: batches that are left for step (c), as rows of `own`.
    """

    own: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]
    test: Float[Tensor, "test d"]
    rows: Rows
    memory: tuple[dict[str, Tensor], dict[str, Tensor]]
    order: Int[Tensor, "steps batch"]


def first_stage(
    learner: Prompted, stream: Stream, budget: Budget, first: int, lr: float, seed: int
) -> list[Learnt]:
    """Take step (a) in every task, for the `first` of its updates; leave the others.
    The learning rate falls over both stages, so that the second gets the low end.

    It needs no second stage in between: rows of other tasks get no gradient, and the
    prompt goes on from where it was.
    """
    found = []
    for task in range(len(stream)):
        rows = stream.rows(task)
        own = stream.own(task)
        order = loop.batches(stream, task, budget, seed)
        adam = optimiser(learner.start(task), "adam", lr)
        fit(
            lambda step, order=order, task=task: learner.loss(order[step], task),
            first,
            adam,
            schedule=falling(budget.steps),
        )
        learner.end(task)
        head = learner.head
        part = Learnt(
            own=learner.train_features(rows),
            labels=stream.labels[rows] - own.start,
            test=learner.test_features(),
            rows=Rows(
                head.weight.detach()[own].clone(), head.bias.detach()[own].clone()
            ),
            memory=(
                _remembered(adam.state[head.weight], own),
                _remembered(adam.state[head.bias], own),
            ),
            order=torch.searchsorted(rows, order[first:]),
        )
        found.append(part)
    return found


def _remembered(state: dict[str, Tensor], own: slice) -> dict[str, Tensor]:
    """Copy Adam's moments of some rows, and its count of steps, which has no rows."""
    return {
        key: value[own].clone() if value.ndim else value.clone()
        for key, value in state.items()
    }
