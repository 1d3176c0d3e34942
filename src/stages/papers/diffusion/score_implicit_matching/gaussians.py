"""Normal distributions on a line, where scores and all gradients have closed forms.

The student is x = μ + s z, the data are standard normal, and the online denoiser is
the student's own. So each loss's gradient can be held against that of the distance
which it is meant to descend. Units are those of denoisers.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stages.papers.diffusion.score_implicit_matching.method import (
    Answers,
    Denoiser,
    Images,
    Levels,
    ask,
)

NODES = 64  # of Gauss-Hermite quadrature, in z and in the noise
Loss = Callable[[Answers], Levels]


def denoiser(mean: Tensor | float, deviation: Tensor | float) -> Denoiser:
    """Return the exact denoiser of a normal distribution."""

    def denoise(x: Images, sigma: Levels) -> Images:
        noise = sigma[:, None] ** 2
        variance = deviation**2
        return (variance * x + noise * mean) / (variance + noise)

    return denoise


@cache
def grid() -> tuple[Images, Images, Float[Tensor, " n"]]:
    """Return z, noise and weights with which a sum is a mean over both."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = torch.from_numpy(weights) / math.sqrt(2 * math.pi)
    nodes = torch.from_numpy(nodes)
    z, noise = torch.meshgrid(nodes, nodes, indexing="ij")
    return z.reshape(-1, 1), noise.reshape(-1, 1), torch.outer(weights, weights).ravel()


def gradient(
    loss: Loss, mean: float, deviation: float, sigma: float
) -> tuple[float, float]:
    """Return the derivatives of a mean loss in the student's mean and deviation, as
    training has them: the online denoiser's parameters are frozen.
    """
    z, noise, weights = grid()
    student = torch.tensor([mean, deviation], dtype=z.dtype, requires_grad=True)
    x = student[0] + student[1] * z
    levels = torch.full((len(z),), sigma, dtype=z.dtype)
    answers = ask(x, levels, noise, denoiser(0, 1), denoiser(mean, deviation))
    value = (weights * loss(answers)).sum()
    return tuple(torch.autograd.grad(value, student)[0].tolist())


def exact_gradient(
    distance: Callable[[Images], Levels], mean: float, deviation: float, sigma: float
) -> tuple[float, float]:
    """Return the derivatives of E d(y) (eq. 2): the student's score moves with its mean
    and deviation, the points at which it is taken stay.
    """
    z, noise, weights = grid()
    student = torch.tensor([mean, deviation], dtype=z.dtype, requires_grad=True)
    held = mean + deviation * z + sigma * noise
    levels = torch.full((len(z),), sigma, dtype=z.dtype)
    y = denoiser(*student)(held, levels) - denoiser(0, 1)(held, levels)
    value = (weights * distance(y)).sum()
    return tuple(torch.autograd.grad(value, student)[0].tolist())
