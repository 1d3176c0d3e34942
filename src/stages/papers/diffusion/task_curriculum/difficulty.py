"""How hard a cluster of timesteps is, in two ways: how long a model of its own takes to
learn it, and how far apart its noise levels are.
"""

from dataclasses import dataclass, replace

import torch

from stages.papers.diffusion.common import digits
from stages.papers.diffusion.task_curriculum import method, training
from stages.papers.diffusion.task_curriculum.method import Interval
from stages.papers.diffusion.task_curriculum.training import Recipe
from stages.seeding import torch_rng


@dataclass(frozen=True)
class Difficulty:
    """What is measured on a cluster.

    Attributes:
        loss: on test images, of the model of its own, by update.
        converged: the update at which 90 % of the fall of that loss is over.
        entropy: the relative entropy of neighbouring noise levels in its middle, nats.
    """

    loss: dict[int, float]
    converged: int
    entropy: float


def measure(
    cluster: Interval, recipe: Recipe, stride: int, count: int, seed: int
) -> Difficulty:
    """Train a model on one cluster alone; test it at every `stride` updates, without a
    moving average, which would lag behind.
    """
    test = digits.test_images()
    recipe = replace(recipe, keep=0.0)
    checkpoints = range(stride, recipe.updates + 1, stride)
    trained = training.train(cluster, digits.train_images(), recipe, seed, checkpoints)
    times = torch.arange(cluster.low, cluster.high)
    loss = {
        update: training.held_out(model, test, times, seed)
        for update, model in trained.snapshots.items()
    }
    start = training.held_out(silent, test, times, seed)
    entropy = method.relative_entropy(
        digits.train_images(),
        (cluster.low + cluster.high) // 2,
        training.SIGNAL,
        count,
        torch_rng(seed, "entropy"),
    )
    return Difficulty(loss, converges(loss, start), entropy)


def silent(x: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Predict no noise, as a fresh network does."""
    return torch.zeros_like(x)


def converges(loss: dict[int, float], start: float) -> int:
    """Return the first update at which 90 % of the fall from `start` to the last loss
    is over; the last if there is no fall.
    """
    final = max(loss)
    enough = start - 0.9 * (start - loss[final])
    return next((u for u, value in loss.items() if value <= enough), final)
