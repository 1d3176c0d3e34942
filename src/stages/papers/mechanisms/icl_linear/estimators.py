"""The estimators that a network is compared with (sec. 4.3), the tuned ones under all
settings of their grids.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stages.worlds import linreg
from stages.worlds.linreg import Inputs, Outputs, Regressions, Weights

OLS = "least squares"
RIDGE = "ridge(0.1)"
TUNED = "ridge, tuned"
GD = "one GD step, tuned"
TWO = "two GD steps, tuned"
FOUR = "four GD steps, tuned"
PLUS = "GD++ step, tuned"
SGD = "SGD, tuned"
KNN = "3 nearest"
WEIGHTED = "3 nearest, weighted"
FIRST = "least squares on the first pair"
TRUTH = "the true w"
REST = (TWO, FOUR, PLUS, SGD, KNN, WEIGHTED)

PENALTIES = np.geomspace(1e-3, 10, 49)
STEPS = np.geomspace(0.005, 0.5, 48)
CONDITIONING = (0.01, 0.03, 0.06, 0.12)

# What one kind of estimator says under each of its settings.
Estimates = Float[Tensor, "settings n pairs"]


def ridge_name(inverse: int) -> str:
    """Name ridge regression whose penalty is 1 / `inverse`."""
    return f"ridge(1/{inverse})"


def plus_plus(x: Inputs, y: Outputs, step: float, gamma: float) -> Weights:
    """GD++: one step on inputs that P = I - gamma XᵀX has conditioned, w = 2 step P²
    XᵀY (von Oswald et al. 2023).
    """
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.float64).tril(-1)
    gram = torch.einsum("qp,npd,npe->nqde", seen, x, x)
    w = linreg.gradient_descent(x, y, step)
    for _ in range(2):
        w = w - gamma * torch.einsum("nqde,nqe->nqd", gram, w)
    return w


def first_pair(x: Inputs, y: Outputs) -> Weights:
    """Least squares on the first pair alone: w = y_1 x_1 / (x_1 · x_1), always."""
    w = x[:, :1] * (y[:, :1] / x[:, :1].square().sum(-1))[..., None]
    w = w.expand(-1, x.shape[1], -1).clone()
    w[:, 0] = 0.0  # the empty prefix has no first pair
    return w


def answers(world: Regressions, weights: Iterable[Weights]) -> Estimates:
    """Return what linear functions predict."""
    return torch.stack([(w * world.x).sum(-1) for w in weights])


def ridges(world: Regressions, penalties: Iterable[float]) -> Estimates:
    """Return what ridge regression predicts with each of these penalties."""
    weights = [linreg.ridge(world.x, world.y, penalty) for penalty in penalties]
    return answers(world, weights)


def textbook(world: Regressions) -> dict[str, Estimates]:
    """Return what least squares, ridge regression at 0.1 and one step under all its
    step sizes predict for every prefix.
    """
    x, y = world.x, world.y
    step = answers(world, [linreg.gradient_descent(x, y, 1.0)])
    return {
        OLS: answers(world, [linreg.least_squares(x, y)]),
        RIDGE: ridges(world, [0.1]),
        GD: torch.from_numpy(STEPS)[:, None, None] * step,  # linear in its size
    }


def references(world: Regressions) -> dict[str, Estimates]:
    """Return what every estimator predicts for every prefix."""
    x, y = world.x, world.y
    found = textbook(world)
    found[TUNED] = ridges(world, PENALTIES)
    for name, steps in ((TWO, 2), (FOUR, 4)):
        weights = [linreg.gradient_descent(x, y, step, steps) for step in STEPS]
        found[name] = answers(world, weights)
    weights = [plus_plus(x, y, s, g) for s in STEPS[::4] for g in CONDITIONING]
    found[PLUS] = answers(world, weights)
    found[SGD] = answers(world, [linreg.sgd(x, y, step) for step in STEPS])
    found[KNN] = linreg.nearest(x, y)[None]
    found[WEIGHTED] = linreg.nearest(x, y, weighted=True)[None]
    found[FIRST] = answers(world, [first_pair(x, y)])
    found[TRUTH] = answers(world, [world.w[:, None]])
    return found
