"""Small perceptrons on tasks of handwritten digits: the task loop, EWC and SI.

Networks are trained in a stack (`StackedMLP`), one network a condition. Both
regularisers take one strength a network, so that a whole grid of strengths is trained
at once. Each adds its gradient by hand after the backward pass.
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

    def only(self, task: int) -> "Tasks":
        """One task, by itself."""
        images, labels = (
            self.images.chunk(len(self))[task],
            self.labels.chunk(len(self))[task],
        )
        return Tasks(images, labels, self.test_images[[task]], self.test_labels)


def permuted_digits(source: str, tasks: int, examples: int, seed: int) -> Tasks:
    """Make tasks of the same handwritten digits, each with the pixels in an order of
    its own; task 0 stays as it is.

    The ten classes are the same in every task and no task is named: one output layer
    serves all.
    """
    world, device = digits.load(source, train=examples), pick_device()
    orders = digits.permutations(tasks, world.train_images.shape[1], seed)
    train, test = (
        digits.permuted(world.train_images, orders),
        digits.permuted(world.test_images, orders),
    )
    parts = (
        train.flatten(0, 1),
        world.train_labels.repeat(tasks),
        test,
        world.test_labels,
    )
    return Tasks(*(part.to(device) for part in parts))


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
    held, adam = penalties(model), optimiser(model.parameters(), "adam", lr)
    accuracy = torch.empty(len(model), len(tasks), len(tasks))
    start = torch.full((len(model), len(tasks), watched), torch.nan)
    for phase in range(len(tasks)):
        shown = (torch.from_numpy(batches(phase)) if phase else first).to(
            tasks.images.device
        )
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


class EWC:
    """Elastic weight consolidation (Kirkpatrick et al. 2017): λ/2 Σ_i Σ_j F_ij (θ_j -
    θ*_ij)², one term a past task.

    The terms are kept as their sum: with A = Σ_i F_i and B = Σ_i F_i θ*_i the gradient
    is λ (A θ - B), so memory does not grow with the number of tasks.

    Args:
        model: the stack to hold back.
        strength: λ of each network; zero switches the penalty off.
    """

    def __init__(self, model: StackedMLP, strength: Float[Tensor, " members"]):
        self.model, self.strength = model, strength.view(-1, 1, 1)
        self.importance = [torch.zeros_like(p) for p in model.parameters()]  # A
        self.anchor = [torch.zeros_like(p) for p in model.parameters()]  # B

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add λ (A θ - B) to the gradients in place."""
        for p, a, b in zip(
            self.model.parameters(), self.importance, self.anchor, strict=True
        ):
            p.grad += self.strength * (a * p - b)

    def after_step(self) -> None:
        """Nothing: EWC looks at the network only between tasks."""

    @torch.no_grad()
    def end_task(self, images: Float[Tensor, "n inputs"]) -> None:
        """Add the term of the task whose images these are: its Fisher information
        around the present weights.
        """
        for fisher, p, a, b in zip(
            diagonal_fisher(self.model, images),
            self.model.parameters(),
            self.importance,
            self.anchor,
            strict=True,
        ):
            a += fisher
            b += fisher * p


@torch.enable_grad()
def diagonal_fisher(
    model: StackedMLP, images: Float[Tensor, "n inputs"]
) -> list[Tensor]:
    """Compute the diagonal of the Fisher information, F_j = E_x E_{y~p(y|x)} [(∂_j log
    p(y|x))²], of every network.

    The expectation over y is exact: a sum over the classes, weighted by the network's
    own probabilities. One example's gradient with respect to a weight is its input a
    times the δ at its output, so the sum of squares over examples is (a²)ᵀ δ², and no
    gradient per example is ever formed. Returns one tensor a parameter, as
    `model.parameters()`.
    """
    inputs, outputs = model.layers(images.expand(len(model), -1, -1))
    log_p = outputs[-1].log_softmax(-1)  # (members, n, classes)
    weights, biases = [0.0] * len(inputs), [0.0] * len(inputs)
    for c in range(log_p.shape[-1]):
        deltas = torch.autograd.grad(log_p[..., c].sum(), outputs, retain_graph=True)
        for i, (a, delta) in enumerate(zip(inputs, deltas, strict=True)):
            expected = log_p[..., c, None].detach().exp() * delta.square() / len(images)
            weights[i] = weights[i] + a.detach().square().transpose(1, 2) @ expected
            biases[i] = biases[i] + expected.sum(1, keepdim=True)
    return weights + biases


class SI:
    """Synaptic intelligence (Zenke, Poole & Ganguli 2017): c Σ_j Ω_j (θ_j - θ*_j)².

    While a task is learnt, ω_j sums -g_j Δθ_j over the steps, g being the gradient of
    the task's loss alone: how much of the fall of the loss went through weight j. When
    it ends, Ω_j grows by ω_j / (Δ_j² + ξ), Δ_j being the weight's whole way. An Ω below
    zero would push a weight away; it counts as zero (our choice).

    Args:
        model: the stack to hold back.
        strength: c of each network; zero switches the penalty off.
        damping: ξ.
    """

    def __init__(
        self,
        model: StackedMLP,
        strength: Float[Tensor, " members"],
        damping: float = 0.1,
    ):
        self.model, self.strength, self.damping = (
            model,
            strength.view(-1, 1, 1),
            damping,
        )
        self.importance = [torch.zeros_like(p) for p in model.parameters()]  # Ω
        self.path = [torch.zeros_like(p) for p in model.parameters()]  # ω
        self.anchor = [p.detach().clone() for p in model.parameters()]  # θ*
        self.before = [
            p.detach().clone() for p in model.parameters()
        ]  # θ before the step
        self.task_gradient = [torch.zeros_like(p) for p in model.parameters()]

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Note the task's gradient, then add 2 c Ω (θ - θ*) to it in place."""
        for i, p in enumerate(self.model.parameters()):
            self.task_gradient[i].copy_(p.grad)
            self.before[i].copy_(p)
            p.grad += (
                2
                * self.strength
                * self.importance[i].clamp(min=0)
                * (p - self.anchor[i])
            )

    @torch.no_grad()
    def after_step(self) -> None:
        """Add the step's part of the path integral: -g Δθ."""
        for i, p in enumerate(self.model.parameters()):
            self.path[i] -= self.task_gradient[i] * (p - self.before[i])

    @torch.no_grad()
    def end_task(self, images: Float[Tensor, "n inputs"] | None = None) -> None:
        """Turn the path of the finished task into importance, and start the next at the
        present weights.
        """
        for i, p in enumerate(self.model.parameters()):
            self.importance[i] += self.path[i] / (
                (p - self.anchor[i]).square() + self.damping
            )
            self.path[i].zero_()
            self.anchor[i].copy_(p)
