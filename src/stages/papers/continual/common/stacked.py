"""Small perceptrons on tasks of handwritten digits: the tasks and the loop over them.

Networks are trained in a stack (`StackedMLP`), one network a condition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.training import (
    StackedMLP,
    fit,
    optimiser,
    pick_device,
    stacked_accuracy,
    stacked_cross_entropy,
)
from stages.worlds import digits


@dataclass(frozen=True)
class Tasks:
    """Tasks with the same test examples: training images in one list, task after task,
    and test images by task.
    """

    images: Float[Tensor, "tasks_examples pixels"]
    labels: Int[Tensor, " tasks_examples"]
    test_images: Float[Tensor, "tasks test pixels"]
    test_labels: Int[Tensor, " test"]

    def __len__(self) -> int:
        return len(self.test_images)

    def to(self, device: torch.device) -> "Tasks":
        """The same tasks on a device."""
        parts = (self.images, self.labels, self.test_images, self.test_labels)
        return Tasks(*(part.to(device) for part in parts))

    def only(self, task: int) -> "Tasks":
        """One task, by itself."""
        images = self.images.chunk(len(self))[task]
        labels = self.labels.chunk(len(self))[task]
        return Tasks(images, labels, self.test_images[[task]], self.test_labels)


def permuted_digits(source: str, tasks: int, examples: int, seed: int) -> Tasks:
    """Make tasks of the same handwritten digits, each with the pixels in an order of
    its own; task 0 stays as it is.

    The ten classes are the same in every task and no task is named: one output layer
    serves all.
    """
    world = digits.load(source, train=examples)
    orders = digits.permutations(tasks, world.train_images.shape[1], seed)
    made = Tasks(
        digits.permuted(world.train_images, orders).flatten(0, 1),
        world.train_labels.repeat(tasks),
        digits.permuted(world.test_images, orders),
        world.test_labels,
    )
    return made.to(pick_device())


class Penalty(Protocol):
    """What a regulariser does in the task loop."""

    def add_gradient(self) -> None: ...
    def after_step(self) -> None: ...
    def end_task(self, images: Tensor) -> None: ...


Penalties = Callable[[StackedMLP], Sequence[Penalty]]


def free(model: StackedMLP) -> Sequence[Penalty]:
    """Hold nothing back."""
    return ()


@dataclass(frozen=True)
class History:
    """What was seen of a stack of networks, in per cent.

    `accuracy[member, n, i]` is that of task i after phase n; `start[member, n, b]` is
    that of the new task n after b + 1 updates of its phase.
    """

    accuracy: Float[Tensor, "members phases tasks"]
    start: Float[Tensor, "members phases watched"]


def learn(
    tasks: Tasks,
    batches: Callable[[int], Int[np.ndarray, "steps members batch"]],
    hidden: Sequence[int],
    lr: float,
    seed: int,
    watched: int = 0,
    penalties: Penalties = free,
    reset: bool = False,
) -> History:
    """Train a stack of networks on one task after another, from the same initial
    weights, with Adam.

    Args:
        tasks: one phase each.
        batches: what each network sees at each step of a phase, as indices into
            `tasks.images`.
        hidden: the widths of the hidden layers.
        watched: for how many updates at the start of a phase the new task's accuracy is
            followed.
        penalties: makes the regularisers, given the networks.
        reset: start the optimiser anew in every phase; by default its moments carry
            over.
    """
    first = torch.from_numpy(batches(0))
    sizes = (tasks.images.shape[1], *hidden, int(tasks.labels.max()) + 1)
    model = StackedMLP(sizes, [seed] * first.shape[1]).to(tasks.images.device)
    held = penalties(model)
    adam = optimiser(model.parameters(), "adam", lr)
    accuracy = torch.empty(len(model), len(tasks), len(tasks))
    start = torch.full((len(model), len(tasks), watched), torch.nan)
    for phase in range(len(tasks)):
        shown = torch.from_numpy(batches(phase)) if phase else first
        shown = shown.to(tasks.images.device)
        new = tasks.only(phase)

        def loss(step: int, shown=shown) -> Tensor:
            return stacked_cross_entropy(
                model(tasks.images[shown[step]]), tasks.labels[shown[step]]
            )

        def after_backward(step: int) -> None:
            for penalty in held:
                penalty.add_gradient()

        def after_step(step: int, phase=phase, new=new) -> None:
            for penalty in held:
                penalty.after_step()
            if step < watched:
                start[:, phase, step] = stacked_accuracy(
                    model, new.test_images, new.test_labels
                )[:, 0].cpu()

        if reset:
            adam = optimiser(model.parameters(), "adam", lr)
        fit(
            loss, len(shown), adam, after_backward=after_backward, after_step=after_step
        )
        for penalty in held:
            penalty.end_task(new.images)
        accuracy[:, phase] = stacked_accuracy(
            model, tasks.test_images, tasks.test_labels
        ).cpu()
    return History(accuracy, start)
