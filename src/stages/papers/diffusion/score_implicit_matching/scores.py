"""How images are judged: beside 500 test images, by a classifier's features.

`stages.papers.diffusion.common.digits` has the metrics; here are their names, and what
becomes of images that are not finite.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.evidence import Outcome
from stages.papers.diffusion.common import digits as judge
from stages.papers.diffusion.score_implicit_matching.method import Recipe
from stages.training import diffusion

DISTANCE, RECALL, PRECISION = "log FD", "recall", "precision"
TOLD_APART = "1-NN accuracy"
WORST = math.log(128)  # FD is at most 4 a feature: 32 of them, between -1 and 1
SHOWN = 100  # images kept for figures

Images = Float[Tensor, "n pixels"]


@torch.no_grad()
def draw(student: nn.Module, noise: Images) -> Images:
    """Draw images in one call."""
    return student(noise)


def heun_images(
    teacher: nn.Module, noise: Images, levels: Sequence[int]
) -> dict[int, Images]:
    """Draw the teacher's images by Heun's method, at so many noise levels; return them
    by their counts of network calls, 2 n - 1 for n levels.
    """
    recipe = Recipe(0)
    drawn = {}
    for n in levels:
        sigmas = diffusion.karras_sigmas(n, recipe.least, recipe.most)
        drawn[2 * n - 1] = diffusion.heun(teacher, noise, sigmas)
    return drawn


def log_distance(images: Images) -> float:
    """Return the log FD; images that are not finite have the largest there can be."""
    if not images.isfinite().all():
        return WORST
    return judge.log_distance(images)


def compare(outcome: Outcome, name: str, images: Images) -> None:
    """Score images beside the test images; keep some of them for the figures."""
    lost = not images.isfinite().all()
    precision, recall = (0.0, 0.0) if lost else judge.coverage(images)
    outcome.score(name, DISTANCE, log_distance(images))
    outcome.score(name, PRECISION, precision)
    outcome.score(name, RECALL, recall)
    outcome.score(name, TOLD_APART, 100.0 if lost else judge.told_apart(images))
    outcome.exhibits[name] = images[:SHOWN]
