"""What is measured of the networks of a seed."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.icl_linear.estimators import (
    FIRST,
    GD,
    OLS,
    PENALTIES,
    REST,
    RIDGE,
    TUNED,
    Estimates,
    answers,
    references,
    ridge_name,
    ridges,
)
from stages.papers.mechanisms.icl_linear.method import (
    distance,
    distances,
    effective_penalty,
    implied,
)
from stages.seeding import torch_rng
from stages.worlds import linreg
from stages.worlds.linreg import Regressions
from stages.zoo.in_context import (
    Family,
    Predictions,
    Task,
    depth_name,
    noise_name,
    predictions,
)

NEAREST_REST = "the nearest of the rest"
NETWORKS = "networks"
BAYES = "Bayes"
OWN = "Bayes' ridge"
ANOTHER = "another ridge"
SHIFTED = "shifted"
TRAINED = "as trained"
DISTANCE = "distance"
WEIGHT_DISTANCE = "distance of implied weights"
LINEARITY = "R² of the implied weights"
TO_OLS = "distance to least squares"
EXCESS = "error above Bayes"
PENALTY = "log10 of λ*"
SLOPE = "slope of log λ* on log σ²"
DIAGONAL = "distance to the network"
CURVE = "during training"
FLAT = "distance to least squares, scale taken out"
HEAVY = "w × 3"
SCALES = {"x × 0.5": 0.5, "x × 2": 2.0, "x × 3": 3.0}


def prompts(task: Task, contexts: int, seed: int, **law: float) -> Regressions:
    """Draw prompts of a network's own kind that no training has seen; another `law`, as
    in `linreg.sample`, changes no draw.
    """
    ones = torch.ones(task.d) if task.ones else None
    law = {"sigma": task.sigma, "weights": ones} | law
    return linreg.sample(contexts, task.pairs, task.d, seed, stream=("test",), **law)


# ----------------------------------------------------------------- distances, penalties


def known_of(world: Regressions, sigma: float, noises: tuple[int, ...]) -> dict:
    """Return the estimators to compare a network with: all of them without noise; with
    noise, least squares and ridge regression.
    """
    grid = {ridge_name(n): ridges(world, [1 / n]) for n in noises}
    if not sigma:
        return references(world) | grid
    ols = answers(world, [linreg.least_squares(world.x, world.y)])
    return {OLS: ols, TUNED: ridges(world, PENALTIES)} | grid


def compare(
    outcome: Outcome,
    name: str,
    said: Predictions,
    known: Mapping[str, Estimates],
    d: int,
) -> None:
    """Score the distance of what a network said to every estimator, and its λ*."""
    metric = in_setting(DISTANCE, name)
    found = {other: distance(said, family, d) for other, family in known.items()}
    for reference, value in found.items():
        outcome.score(reference, metric, value)
    outcome.score(name, TO_OLS, found[OLS])
    outcome.score(name, PENALTY, np.log10(effective_penalty(said, known[TUNED], d)))
    if FIRST not in known:  # compared with least squares and ridge regression alone
        return
    outcome.score(NEAREST_REST, metric, min(found[other] for other in REST))
    for reference in (OLS, RIDGE, TUNED, GD, FIRST):
        line = distances(said, known[reference], d).amin(0)[1:]
        outcome.curve(reference, metric, range(1, len(line) + 1), line)


def score_error(
    outcome: Outcome, name: str, said: Predictions, world: Regressions, task: Task
) -> None:
    """Score how far predictions are from Bayes', squared and over all numbers of pairs;
    that is what a loss has above the lowest possible.
    """
    best = (linreg.bayes(world.x, world.y, task.sigma, 1.0) * world.x).sum(-1)
    best = world.y if task.ones else best
    outcome.score(name, EXCESS, (said - best).square().mean())


def questions(
    contexts: int, queries: int, d: int, seed: int
) -> Float[Tensor, "contexts queries d"]:
    """Draw inputs at which to ask a network about its prompts, as many for each."""
    chance = torch_rng(seed, "queries")
    return torch.randn(contexts, queries, d, generator=chance, dtype=torch.float64)


def weigh(
    outcome: Outcome,
    name: str,
    network: nn.Module,
    world: Regressions,
    asked: Float[Tensor, "contexts queries d"],
) -> None:
    """Score how far a network's implied weights are from two estimators' (ILWD / d),
    and how linear its answers are.
    """
    contexts, _, d = asked.shape
    fitted = [implied(network, world, n, asked) for n in range(1, d)]
    own = torch.stack([weights for weights, _ in fitted], 1)
    rivals = {
        OLS: linreg.least_squares(world.x, world.y),
        RIDGE: linreg.ridge(world.x, world.y, 0.1),
    }
    for reference, weights in rivals.items():
        gap = (weights[:contexts, 1:d] - own).square().sum(-1).mean() / d  # eq. 17
        outcome.score(reference, WEIGHT_DISTANCE, gap)
    outcome.score(name, LINEARITY, np.mean([share for _, share in fitted]))


def by_noise(outcome: Outcome, family: Family) -> None:
    """Score how λ* follows the noise of training, and whether Bayes' own ridge is the
    nearest of a grid.
    """
    value = values(outcome)
    lines = [value[noise_name(n), PENALTY] for n in family.noises]
    slope = np.polyfit(-np.log10(family.noises), lines, 1)[0]
    outcome.score(NETWORKS, SLOPE, slope)
    outcome.score(BAYES, SLOPE, 1.0)
    grid = {depth_name(family.task.depth): OLS}
    grid |= {noise_name(n): ridge_name(n) for n in family.noises}
    for name, own in grid.items():
        gaps = {
            other: value[other, in_setting(DISTANCE, name)] for other in grid.values()
        }
        outcome.score(OWN, in_setting(DIAGONAL, name), gaps.pop(own))
        outcome.score(ANOTHER, in_setting(DIAGONAL, name), min(gaps.values()))


def values(outcome: Outcome) -> dict[tuple[str, str], float]:
    """Return the scores so far, by method and metric."""
    return {(row["method"], row["metric"]): row["value"] for row in outcome.scores}


# ------------------------------------------------------------------ beyond the training


def shifts(
    outcome: Outcome, network: nn.Module, task: Task, contexts: int, seed: int
) -> None:
    """Score the distance to least squares where inputs or weights are of another size
    than in training, in units of y².
    """

    def gap(scale: float = 1.0, tau: float = 1.0) -> float:
        world = prompts(task, contexts, seed, scale=scale, tau=tau)
        best = answers(world, [linreg.least_squares(world.x, world.y)])
        said = predictions(network, linreg.encode(world.x, world.y))
        return distance(said, best, task.d) / (scale * tau) ** 2

    as_trained = gap()
    found = {name: gap(scale=scale) for name, scale in SCALES.items()}
    found[HEAVY] = gap(tau=3.0)
    for name, value in found.items():
        outcome.score(TRAINED, in_setting(FLAT, name), as_trained)
        outcome.score(SHIFTED, in_setting(FLAT, name), value)
