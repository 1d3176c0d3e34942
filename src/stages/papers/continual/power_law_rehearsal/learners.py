"""Networks that learn from a stream of tasks, side by side, and the baselines that hold
their weights back: elastic weight consolidation and synaptic intelligence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.papers.continual.common.metrics import final_average
from stages.papers.continual.common.stacked import History, Tasks, learn
from stages.papers.continual.power_law_rehearsal.method import (
    Budget,
    Environment,
    exponential,
    stream,
)
from stages.training import StackedMLP


@dataclass(frozen=True)
class Arm:
    """What one network gets: an environment, EWC's λ and SI's c."""

    environment: Environment
    ewc: float = 0.0
    si: float = 0.0


def stacks(arms: dict[str, Arm]) -> Iterator[dict[str, Arm]]:
    """Group neighbours that train side by side: they take as many updates, and either
    all or none of them are held back.
    """

    def kind(item: tuple[str, Arm]) -> tuple[bool, bool]:
        arm = item[1]
        return arm.environment.arrangement == "joint", arm.ewc > 0 or arm.si > 0

    for _, group in groupby(arms.items(), kind):
        yield dict(group)


def train(
    tasks: Tasks, arms: dict[str, Arm], budget: Budget, seed: int, **how
) -> History:
    """Train one network an arm through all tasks, from the same initial weights.

    Args:
        tasks: one phase each.
        arms: by name; all have to take as many updates.
        how: sizes, learning rate and the like, for `learn`.
    """

    def batches(phase: int) -> Int[np.ndarray, "steps members batch"]:
        drawn = [stream(arm.environment, budget, phase, seed) for arm in arms.values()]
        return np.stack(drawn, axis=1)

    def penalties(model: StackedMLP) -> list[EWC | SI]:
        """Give each network its own strengths; no penalty where all of them are 0."""
        made = []
        for kind, strengths in (
            (EWC, [arm.ewc for arm in arms.values()]),
            (SI, [arm.si for arm in arms.values()]),
        ):
            if any(strengths):
                made.append(kind(model, model.weights[0].new_tensor(strengths)))
        return made

    return learn(tasks, batches, seed=seed, penalties=penalties, **how)


def fresh_start(
    tasks: Tasks, budget: Budget, seed: int, **how
) -> Float[Tensor, "tasks watched"]:
    """Train a new network on each task by itself, for the updates that `learn` watches;
    return its learning curves, in per cent.
    """
    starts = []
    for task in range(len(tasks)):
        own = stream(Environment(None), budget, task, seed) - task * budget.examples
        first = own[: how["watched"], None]
        alone = learn(tasks.only(task), lambda _, first=first: first, seed=seed, **how)
        starts.append(alone.start[0])
    return torch.cat(starts)


def tune(tasks: Tasks, budget: Budget, seed: int, **how) -> dict[str, float]:
    """Return the final average accuracy A_N with each candidate for λ, c and β.

    Give it seeds from 1000 up, which no table reports; the best on average is taken.
    """
    none = Environment(None)
    ewc = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3, 1e4)
    si = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
    rates = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    arms = {f"rate {rate:g}": Arm(Environment(exponential(rate))) for rate in rates}
    arms |= {f"ewc {strength:g}": Arm(none, ewc=strength) for strength in ewc}
    arms |= {f"si {strength:g}": Arm(none, si=strength) for strength in si}
    found = {}
    for stack in stacks(arms):
        history = train(tasks, stack, budget, seed, **how)
        found |= dict(zip(stack, final_average(history.accuracy).tolist(), strict=True))
    return found


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
        self.model = model
        self.strength = strength.view(-1, 1, 1)
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
    weights = [0.0] * len(inputs)
    biases = [0.0] * len(inputs)
    for c in range(log_p.shape[-1]):
        deltas = torch.autograd.grad(log_p[..., c].sum(), outputs, retain_graph=True)
        p_c = log_p[..., c, None].detach().exp()
        for i, (a, delta) in enumerate(zip(inputs, deltas, strict=True)):
            expected = p_c * delta.square() / len(images)
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
        self.model = model
        self.strength = strength.view(-1, 1, 1)
        self.damping = damping
        self.importance = [torch.zeros_like(p) for p in model.parameters()]  # Ω
        self.path = [torch.zeros_like(p) for p in model.parameters()]  # ω
        self.anchor = [p.detach().clone() for p in model.parameters()]  # θ*
        self.before = [p.detach().clone() for p in model.parameters()]  # θ, a step ago
        self.task_gradient = [torch.zeros_like(p) for p in model.parameters()]  # g

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Note the task's gradient, then add 2 c Ω (θ - θ*) to it in place."""
        for i, p in enumerate(self.model.parameters()):
            self.task_gradient[i].copy_(p.grad)
            self.before[i].copy_(p)
            importance = self.importance[i].clamp(min=0)
            p.grad += 2 * self.strength * importance * (p - self.anchor[i])

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
            way = p - self.anchor[i]
            self.importance[i] += self.path[i] / (way.square() + self.damping)
            self.path[i].zero_()
            self.anchor[i].copy_(p)
