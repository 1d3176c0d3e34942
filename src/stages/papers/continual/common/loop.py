"""One loop over the tasks of a stream, for everything that learns on top of a vision
transformer.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import ViT
from stages.papers.continual.common.streams import Stream
from stages.seeding import rng
from stages.training import fit, optimiser

AT_ONCE = 500  # images that are passed through a network together


@dataclass(frozen=True)
class Budget:
    """What all methods of a comparison share: updates a task, images an update."""

    steps: int
    batch: int = 32


class Learner(Protocol):
    """What learns a stream; it holds the stream's images, in the form it reads."""

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Make ready for a task, and return what it trains."""

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Return the loss on training images of a task."""

    def end(self, task: int) -> None:
        """Close a task."""

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the logits of the test images."""


def batches(
    stream: Stream, task: int, budget: Budget, seed: int
) -> Int[Tensor, "steps batch"]:
    """Draw a task's batches, pass after pass over its images: the same ones for every
    learner of a seed.
    """
    rows = stream.rows(task)
    wanted = budget.steps * budget.batch
    passes = [
        rng(seed, "batches", task, i).permutation(len(rows))
        for i in range(math.ceil(wanted / len(rows)))
    ]
    order = torch.from_numpy(np.concatenate(passes)[:wanted]).to(rows.device)
    return rows[order].view(budget.steps, budget.batch)


def falling(steps: int) -> Callable[[int], float]:
    """Return the schedule of a task's learning rate: a quarter of a cosine, nearly to
    zero, as in CODA-Prompt's released code.
    """
    return lambda step: math.cos(0.495 * math.pi * step / max(1, steps - 1))


def in_parts(body: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Pass images through a network, so many at once that they fit into memory."""
    return torch.cat([body(part) for part in images.split(AT_ONCE)])


def learn_stream(
    learner: Learner, stream: Stream, budget: Budget, lr: float, seed: int
) -> Float[Tensor, "tasks test classes"]:
    """Teach the tasks one after another with Adam, made anew for each; return the test
    logits after each. In every task the learning rate is `falling`.
    """
    logits = []
    for task in range(len(stream)):
        rows = batches(stream, task, budget, seed)
        adam = optimiser(learner.start(task), "adam", lr)
        fit(
            lambda step, rows=rows, task=task: learner.loss(rows[step], task),
            budget.steps,
            adam,
            schedule=falling(budget.steps),
        )
        learner.end(task)
        with torch.no_grad():
            logits.append(learner.logits())
    return torch.stack(logits)


def task_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], own: slice
) -> Float[Tensor, ""]:
    """Compute the cross-entropy among a task's own classes: the others' logits are -∞,
    and get no gradient.
    """
    return F.cross_entropy(logits[:, own], labels - own.start)


@dataclass(frozen=True)
class Encoded:
    """What a frozen transformer makes of a stream's images, computed once: the tokens
    that enter block `first`, before which no prompt will go, and the feature q(x), the
    class token after the final norm.
    """

    tokens: Float[Tensor, "n tokens width"]
    query: Float[Tensor, "n width"]
    test_tokens: Float[Tensor, "test tokens width"]
    test_query: Float[Tensor, "test width"]
    first: int = 0


@torch.no_grad()
def encode(vit: ViT, stream: Stream, first: int = 0) -> Encoded:
    """Pass the images through the frozen transformer, without prompts; keep the
    tokens that enter block `first`.
    """
    before = nn.Sequential(*vit.blocks[:first])

    def passed(images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = in_parts(lambda part: before(vit.embed(part)), images)
        return tokens, in_parts(lambda part: vit.features_from(part, first), tokens)

    return Encoded(*passed(stream.images), *passed(stream.test_images), first=first)


def new_head(vit: ViT, classes: int) -> nn.Linear:
    """Make a linear head for all classes to come, of zeros.

    The masked softmax never sees the logits of two tasks side by side, so what random
    rows add to them would stay.
    """
    head = nn.Linear(vit.norm.weight.shape[0], classes).to(vit.positions.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class FineTuned:
    """Fine-tuning of all parameters, with the old classes hidden from the softmax:
    "FT++" (Smith et al. 2023).

    Args:
        vit: the pre-trained network; it is copied.
    """

    passes = 1

    def __init__(self, vit: ViT, stream: Stream):
        self.vit = copy.deepcopy(vit).requires_grad_(True)
        self.vit.head = new_head(vit, stream.classes)
        self.stream = stream

    @property
    def trained(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for p in self.vit.parameters())

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train everything."""
        return list(self.vit.parameters())

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Cross-entropy among the task's classes."""
        logits = self.vit(self.stream.images[rows])
        return task_cross_entropy(
            logits, self.stream.labels[rows], self.stream.own(task)
        )

    def end(self, task: int) -> None:
        """Nothing."""

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits."""
        return in_parts(self.vit, self.stream.test_images)


def nearest_mean(
    encoded: Encoded, stream: Stream
) -> Float[Tensor, "tasks test classes"]:
    """Score by the negative distance to class means of frozen features, the
    nearest-mean baseline: nothing is trained, and nothing forgotten, so its scores are
    the same after every task.
    """
    means = torch.stack(
        [encoded.query[stream.labels == c].mean(0) for c in range(stream.classes)]
    )
    return -torch.cdist(encoded.test_query, means).expand(len(stream), -1, -1)
