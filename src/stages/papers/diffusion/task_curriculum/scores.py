"""What is measured, and how."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from stages.evidence import Outcome, in_setting
from stages.papers.diffusion.common import digits
from stages.papers.diffusion.task_curriculum import difficulty, training
from stages.papers.diffusion.task_curriculum.settings import Settings
from stages.papers.diffusion.task_curriculum.training import Trained

ALONE, REAL = "a model for each cluster", "training images"

LATE = "mean log FD from 60 to 100 %"  # the Fréchet distance's natural logarithm
FINAL = "final log FD"
ROOM = "fall of log FD from 30 % on"
TAIL = "fall of log FD from 60 % on"
NEAREST = "1-NN accuracy"  # per cent; 50 is best
HELD_OUT = "held-out loss"
END = "end of the stages"  # per cent of the updates
IN_TIME = "stages end by 60 %"  # 1 or 0
CONVERGED = "updates to converge"
SLOWEST = "updates by which cluster 1 is last"
ENTROPY = "relative entropy"  # nats
DISTANCE = "log FD"  # curves: by update
STAGES = "stages"  # begun, by update
SAMPLES = "samples"  # pixel by pixel


def of(metric: str, cluster: int) -> str:
    """Name a metric of cluster 1 (the least noise) to N (the most)."""
    return in_setting(metric, f"cluster {cluster}")


def score(
    outcome: Outcome, name: str, trained: Trained, settings: Settings, seed: int
) -> None:
    """Judge an arm's samples at all checkpoints, and its loss at the end."""
    distance = {}
    kept = {}
    for update, model in trained.snapshots.items():
        samples = training.samples(model, settings.count, seed)
        distance[update] = digits.log_distance(samples)
        kept[update] = samples[: settings.shown]
    late = [distance[settings.update(percent)] for percent in (60, 70, 80, 90, 100)]
    final = distance[settings.recipe.updates]
    outcome.score(name, LATE, sum(late) / len(late))
    outcome.score(name, FINAL, final)
    outcome.score(name, ROOM, distance[settings.update(30)] - final)
    outcome.score(name, TAIL, distance[settings.update(60)] - final)
    outcome.score(name, NEAREST, digits.told_apart(samples))
    for i, cluster in enumerate(settings.parts, 1):
        times = torch.arange(cluster.low, cluster.high)
        loss = training.held_out(model, digits.test_images(), times, seed)
        outcome.score(name, of(HELD_OUT, i), loss)
    outcome.curve(name, DISTANCE, distance, distance.values())
    pixels = [round(value, 2) for value in kept[update].flatten().tolist()]
    outcome.curve(name, SAMPLES, range(len(pixels)), pixels)
    outcome.exhibits[name] = kept


def score_stages(
    outcome: Outcome, name: str, ends: list[int], settings: Settings
) -> None:
    """Tell when the stages of a curriculum ended, in per cent of the updates."""
    over = len(ends) == settings.clusters - 1
    end = 100 * ends[-1] / settings.recipe.updates if over else 100
    outcome.score(name, END, end)
    outcome.score(name, IN_TIME, end <= 60)
    outcome.curve(name, STAGES, ends, range(2, len(ends) + 2))


def shares(
    ends: Sequence[int], updates: Sequence[int], number: int, reverse: bool = False
) -> Float[np.ndarray, "clusters updates"]:
    """Return how often a curriculum draws each cluster at some updates, given after
    which updates its stages ended.
    """
    stage = 1 + np.searchsorted(ends, updates, side="right")
    cluster = np.arange(1, number + 1)[:, None]
    active = cluster <= stage if reverse else cluster > number - stage
    return active / stage


def study(outcome: Outcome, settings: Settings, seed: int) -> None:
    """Measure how hard each cluster is, and by how many updates the least noise is the
    last to converge.
    """
    recipe = replace(settings.recipe, updates=settings.alone)
    found = [
        difficulty.measure(part, recipe, settings.stride, settings.count, seed)
        for part in settings.parts
    ]
    for i, cluster in enumerate(found, 1):
        outcome.score(ALONE, of(CONVERGED, i), cluster.converged)
        outcome.score(ALONE, of(ENTROPY, i), cluster.entropy)
        loss = cluster.loss
        outcome.curve(of(ALONE, i), HELD_OUT, loss, loss.values())
    first, *others = (cluster.converged for cluster in found)
    outcome.score(ALONE, SLOWEST, first - max(others))
