"""Power-law rehearsal: old tasks come back as rarely as they do in the world.

Gandhi, Shah, Marupudi & Varma, "Catastrophic Interference is Mitigated in Naturalistic
Power-Law Learning Environments", arXiv 2401.10393 (2024). A network learns tasks one
after another. In the world, an old task comes back with a probability that falls as a
power of the time since; put that into the training stream, change nothing else, and the
network forgets far less.

Of the paper's text only the abstract was open to us. How the weights become counts, how
the counts are rounded and mixed in, and what they are compared with is our choice. The
lag of a task is the number of phases since it was new, not since it last came back.
Equations are numbered as on the book's page.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq

from stages.seeding import rng

Weights = Callable[[Float[np.ndarray, " lags"]], Float[np.ndarray, " lags"]]

NONE = "no rehearsal"
RECENCY = "recency"
EXPONENTIAL = "exponential"
UNIFORM = "uniform"
POWER = "power law"

# ------------------------------------------------------------------------- the schedule


def power_law(alpha: float) -> Weights:
    """Weigh a task by its lag τ: the longer ago, the rarer, with a heavy tail (eq. 1).

    α = 0 is the uniform environment.
    """
    return lambda lag: lag**-alpha  # eq. 1


def shares(weights: Weights, older: int) -> Float[np.ndarray, " older"]:
    """Normalise the weights over `older` tasks, the oldest first (eq. 2 for m = 1)."""
    lags = np.arange(older, 0, -1.0)
    return weights(lags) / weights(lags).sum()  # eq. 2


def rehearsals(
    expected: Float[np.ndarray, " tasks"], u: float
) -> Int[np.ndarray, " tasks"]:
    """Round expected counts at random: each is right on average over u ~ U[0, 1), and
    their sum is kept exactly (eq. 4).

    Rounding to the nearest would give tasks with less than half an example none at all,
    and so turn a power law into recency. Systematic sampling instead marks the points
    u, u+1, u+2, ... on the line that the counts divide.
    """
    passed = np.floor(np.cumsum(expected) + u + 1e-9)
    return np.diff(passed, prepend=0.0).astype(int)  # eq. 4


# --------------------------------------------------------------------------- the stream


@dataclass(frozen=True)
class Budget:
    """What all environments of a comparison share.

    Attributes:
        examples: K, the training examples of a task.
        rehearsed: m, the examples of older tasks in a phase.
        epochs, batch: passes over a phase, and examples an update.
        alpha: the power law's exponent, which sets the new task's share in the
            arrangement "environment".
    """

    examples: int
    rehearsed: int
    epochs: int = 4
    batch: int = 32
    alpha: float = 1.0


@dataclass(frozen=True)
class Environment:
    """How the world arranges what a network sees.

    Attributes:
        weights: of an older task, by its lag; None if old tasks never come back.
        arrangement: "mixed" shuffles m rehearsals into the new task's K examples;
            "sequential" puts them after it; "environment" is a stream of K examples in
            all, in which the new task is one more point of the power law, p_i ∝
            (n-i+1)^-α; "joint" shows all of every task so far, whatever the budget.
        buffer: rehearse only from this many fixed examples of a task; by default from
            all of them.
    """

    weights: Weights | None
    arrangement: Literal["mixed", "sequential", "environment", "joint"] = "mixed"
    buffer: int | None = None


def counts(
    environment: Environment, budget: Budget, phase: int, u: float
) -> Int[np.ndarray, " tasks"]:
    """Return how many examples of tasks 0..phase a phase shows, the new task last; `u`
    settles the rounding.

    Without rehearsal the new task gets the slots that the others spend on old ones, so
    that all take as many updates.
    """
    shown, rehearsed = slots(environment.arrangement, budget, phase)
    old = np.zeros(phase, int)
    if phase and environment.weights:
        expected = rehearsed * shares(environment.weights, phase)  # eq. 2
        old = rehearsals(expected, u)
    return np.append(old, shown - old.sum())


def slots(arrangement: str, budget: Budget, phase: int) -> tuple[int, int]:
    """Return how many examples phase 0, 1, 2, ... shows in all, and how many of them
    are rehearsed.
    """
    if arrangement == "joint":
        return budget.examples * (phase + 1), budget.examples * phase
    if arrangement == "environment":
        # Whatever the shape, old tasks get together what the power law gives them.
        new = shares(power_law(budget.alpha), phase + 1)[-1]
        return budget.examples, round(budget.examples * (1 - new))
    rehearsed = budget.rehearsed if phase else 0
    return budget.examples + rehearsed, rehearsed


def stream(
    environment: Environment, budget: Budget, phase: int, seed: int
) -> Int[np.ndarray, "steps batch"]:
    """Draw the batches of a phase, as indices task * K + example; a last incomplete
    batch is left out.

    All chance comes from streams named after the phase and the task, so two
    environments of one seed shuffle alike, see the new task's examples in the same
    order, and draw the same examples of an old task as far as both draw them.
    """
    parts = counts(environment, budget, phase, rng(seed, "rounding", phase).random())
    drawn = [
        draw(environment, budget, phase, task, count, seed)
        for task, count in enumerate(parts)
    ]
    shown = np.concatenate([drawn[-1], *drawn[:-1]])  # the new task first
    blocks = [shown]
    if environment.arrangement == "sequential" and phase:
        blocks = [shown[: budget.examples], shown[budget.examples :]]
    order = np.concatenate(
        [
            rng(seed, "shuffle", phase, epoch, len(block)).permutation(block)
            for block in blocks
            for epoch in range(budget.epochs)
        ]
    )
    whole = len(order) // budget.batch * budget.batch
    return order[:whole].reshape(-1, budget.batch)


def draw(
    environment: Environment,
    budget: Budget,
    phase: int,
    task: int,
    count: int,
    seed: int,
) -> Int[np.ndarray, " count"]:
    """Draw examples of a task without repeats as long as there are others left."""
    pool = rng(seed, "examples", phase, task).permutation(budget.examples)
    if environment.buffer and task < phase:
        kept = rng(seed, "buffer", task).permutation(budget.examples)
        pool = kept[: environment.buffer]
    return task * budget.examples + np.resize(pool, count)


# ---------------------------------------------------------- what it is compared with


def recency(lag: Float[np.ndarray, " lags"]) -> Float[np.ndarray, " lags"]:
    """Weigh only the task just before this one: w(τ) = 1 for τ = 1, else 0."""
    return (lag == 1).astype(float)


def exponential(rate: float) -> Weights:
    """Weigh a task by exp(-βτ), β being the rate: the same odds of being dropped in
    every phase (eq. 3). A factor cancels, so the largest weight is 1.
    """
    return lambda lag: np.exp(-rate * (lag - 1))  # eq. 3


def mean_lag(weights: Weights, older: int) -> float:
    """Compute the average lag of what is rehearsed when `older` tasks came before."""
    return float(shares(weights, older) @ np.arange(older, 0, -1.0))


def matched_exponential(weights: Weights, older: int) -> Weights:
    """Find the exponential whose mean lag with `older` tasks is that of `weights`, so
    that only the shape differs.
    """

    def gap(rate: float) -> float:
        return mean_lag(exponential(rate), older) - mean_lag(weights, older)

    return exponential(brentq(gap, -5.0, 50.0))


def environments(
    budget: Budget,
    tasks: int,
    arrangement: str = "mixed",
    buffer: int | None = None,
) -> dict[str, Environment]:
    """Return the environments that share a budget; the exponential has the power law's
    mean lag in the last of the phases.
    """
    law = power_law(budget.alpha)
    if arrangement == "environment":  # the new task has the first point of the law
        law = one_later(law)
    weights = {
        NONE: None,
        RECENCY: recency,
        EXPONENTIAL: matched_exponential(law, tasks - 1),
        UNIFORM: power_law(0.0),
        POWER: law,
    }
    return {name: Environment(w, arrangement, buffer) for name, w in weights.items()}


def one_later(weights: Weights) -> Weights:
    """Weigh a task as if its lag were one phase longer."""
    return lambda lag: weights(lag + 1)
