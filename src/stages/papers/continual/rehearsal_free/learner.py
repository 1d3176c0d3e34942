"""One learner for all arms: a body that makes features, a linear head for all classes
to come, and what an arm holds still.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from stages.models import seeded
from stages.papers.continual.common.arms import Result
from stages.papers.continual.common.loop import (
    Budget,
    in_parts,
    learn_stream,
    task_cross_entropy,
)
from stages.papers.continual.common.streams import Stream
from stages.papers.continual.rehearsal_free.method import (
    Penalty,
    bce_kd,
    feature_distance,
    sampled_fisher,
)
from stages.seeding import rng, torch_rng

FISHER = 128  # images of a task that EWC looks at


@dataclass(frozen=True)
class Arm:
    """A way to learn a stream.

    Attributes:
        rate: Adam's learning rate.
        loss: sigmoids over all classes seen, or the loss of the prompts, a softmax over
            the task's own classes ("masked").
        distil: PredKD, with the network of the last task as teacher.
        penalty: of this `strength` λ, from task 2 on.
        first: λ of an L2 penalty to the start, in task 1.
        trained: which parameters of the body; the head always is.
        random: start from random parameters, not from the base model.
        joint: learn all tasks at once, in as many updates.
    """

    rate: float
    loss: Literal["bce", "masked"] = "bce"
    distil: bool = False
    penalty: Literal["", "L2", "EWC", "FeatKD"] = ""
    strength: float = 0.0
    first: float = 0.0
    trained: Literal["all", "qkv", "head"] = "all"
    random: bool = False
    joint: bool = False

    def held(self, penalty: str, strength: float) -> "Arm":
        """Return the arm with a penalty. L2 holds a pre-trained network in task 1 too,
        where EWC has no task whose Fisher information it could take.
        """
        at_once = penalty == "L2" and not self.random
        first = strength if at_once else 0.0
        return replace(self, penalty=penalty, strength=strength, first=first)


class Regularised:
    """Learns a stream as its arm says.

    Args:
        body: maps images to features; it is copied.
    """

    def __init__(self, body: nn.Module, stream: Stream, arm: Arm, seed: int):
        self.body = copy.deepcopy(body)
        self.stream = stream
        self.arm = arm
        self.seed = seed
        self.head = self._new_head()
        self.held = self._choose()
        self.penalty = Penalty(list(self.held.values()), arm.first)
        self.teacher: tuple[nn.Module, nn.Module] | None = None

    def _new_head(self) -> nn.Linear:
        with torch.no_grad(), seeded(self.seed, "head"):
            width = self.body(self.stream.images[:1]).shape[1]
            head = nn.Linear(width, self.stream.classes)
            if self.arm.loss == "masked":  # as the heads of the prompts start
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)
        return head.to(self.stream.images.device)

    def _choose(self) -> Mapping[str, nn.Parameter]:
        """Freeze what the arm does not train of the body, and return the rest."""
        chosen = {}
        for name, parameter in self.body.named_parameters():
            qkv = self.arm.trained == "qkv" and "attention.qkv" in name
            parameter.requires_grad_(self.arm.trained == "all" or qkv)
            if parameter.requires_grad:
                chosen[name] = parameter
        return chosen

    @property
    def trained(self) -> int:
        """How many parameters are trained, the head's among them."""
        return sum(p.numel() for p in self.start(0))

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train the arm's parameters and the head."""
        return [*self.held.values(), *self.head.parameters()]

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Return the loss with its penalty (eq. 5). The head is not penalised."""
        images = self.stream.images[rows]
        labels = self.stream.labels[rows]
        own = self.stream.own(task)
        features = self.body(images)
        logits = self.head(features)
        if self.arm.loss == "masked":
            return task_cross_entropy(logits, labels, own) + self.penalty()
        if self.teacher is None:
            return bce_kd(logits, labels, own) + self.penalty()
        body, head = self.teacher
        with torch.no_grad():
            before = body(images)
            taught = head(before) if self.arm.distil else None
        total = bce_kd(logits, labels, own, taught) + self.penalty()
        if self.arm.penalty == "FeatKD":
            total = total + self.arm.strength * feature_distance(features, before)
        return total

    def end(self, task: int) -> None:
        """Keep the network as the next teacher, its parameters as the next anchor."""
        arm = self.arm
        if arm.distil or arm.penalty == "FeatKD":
            self.teacher = copy.deepcopy((self.body, self.head))
        if arm.penalty == "L2":
            held = self.held.values()
            self.penalty.move([torch.full_like(p, arm.strength) for p in held])
        if arm.penalty == "EWC":
            fisher = [arm.strength * f for f in self.information(task)]
            if task:  # a pull to the start, if there was one, ends with task 1
                known = self.penalty.importance
                fisher = [k + f for k, f in zip(known, fisher, strict=True)]
            self.penalty.move(fisher)

    def information(self, task: int) -> list[Tensor]:
        """Return the Fisher information of the parameters about a task's images, under
        the likelihood of the loss.
        """
        own = self.stream.own(task)
        masked = self.arm.loss == "masked"
        asked = own if masked else slice(0, own.stop)
        rows = self.stream.rows(task)
        chosen = rng(self.seed, "fisher", task).permutation(len(rows))[:FISHER]
        images = self.stream.images[rows[torch.from_numpy(chosen).to(rows.device)]]
        chance = torch_rng(self.seed, "answers", task)

        def answer(given: Mapping[str, Tensor], images: Tensor) -> Tensor:
            return self.head(functional_call(self.body, given, (images,)))[:, asked]

        return sampled_fisher(answer, self.held, images, not masked, chance)

    @torch.no_grad()
    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits."""
        return in_parts(
            lambda part: self.head(self.body(part)), self.stream.test_images
        )


def learn(
    arm: Arm, body: nn.Module, stream: Stream, budget: Budget, seed: int
) -> Result:
    """Teach a stream as an arm says, or all its tasks at once."""
    if arm.joint:
        budget = replace(budget, steps=budget.steps * len(stream))
        stream = stream.joint()
    learner = Regularised(body, stream, arm, seed)
    logits = learn_stream(learner, stream, budget, arm.rate, seed)
    return Result(logits, learner.trained)
