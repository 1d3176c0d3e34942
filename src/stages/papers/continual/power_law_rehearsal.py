"""Power-law rehearsal: forgetting as a property of the environment.

Gandhi, Shah, Marupudi & Varma, "Catastrophic Interference is Mitigated in Naturalistic
Power-Law Learning Environments", arXiv 2401.10393 (2024). A network learns tasks one
after another. In the world, an old task comes back with a probability that falls as a
power of the time since; put that into the training stream, change nothing else, and the
network forgets far less.

What differs from the paper: of its text only the abstract was open to us, so the
schedule's normalisation, the budget, the way examples are mixed, the comparison
environments and every hyper-parameter are our choice. The lag of a task is the number
of phases since it was introduced, not since it last came back. The default world is
scikit-learn's 8x8 digits with permuted pixels; MNIST is the profile "mnist".
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import brentq
from torch import Tensor

from stages.evidence import Claim, Outcome, Paper, divide, in_setting
from stages.papers.continual.common.metrics import final_average, forgetting, worst_task
from stages.papers.continual.common.stacked import (
    EWC,
    SI,
    History,
    Penalties,
    free,
    learn,
    permuted_digits,
)
from stages.seeding import rng
from stages.training import StackedMLP

# ------------------------------------------------------------------------- the schedule

Weights = Callable[[Float[np.ndarray, " lags"]], Float[np.ndarray, " lags"]]


def power_law(alpha: float, shift: int = 0) -> Weights:
    """w(τ) = (τ + shift)^-α: the longer ago, the rarer, with a heavy tail. α = 0 is the
    uniform environment.
    """
    return lambda lag: (lag + shift) ** -alpha


def exponential(rate: float) -> Weights:
    """w(τ) = exp(-βτ): the same odds of being dropped in every phase."""
    return lambda lag: np.exp(
        -rate * (lag - 1)
    )  # the factor e^β cancels, and the largest weight is 1


def recency(lag: Float[np.ndarray, " lags"]) -> Float[np.ndarray, " lags"]:
    """w(τ) = 1 for τ = 1, else 0: only the task before this one comes back."""
    return (lag == 1).astype(float)


def shares(weights: Weights, older: int) -> Float[np.ndarray, " older"]:
    """Normalise the weights over `older` tasks at lags older, ..., 2, 1, the oldest
    task first.
    """
    w = weights(np.arange(older, 0, -1.0))
    return w / w.sum()


def mean_lag(weights: Weights, older: int) -> float:
    """Compute the average lag of what is rehearsed when `older` tasks came before."""
    return float(shares(weights, older) @ np.arange(older, 0, -1.0))


def matched_exponential(weights: Weights, older: int) -> Weights:
    """Find the exponential whose mean lag with `older` tasks is that of `weights`, so
    that only the shape differs.
    """
    gap = lambda rate: mean_lag(exponential(rate), older) - mean_lag(weights, older)  # noqa: E731
    return exponential(brentq(gap, -5.0, 50.0))


def rehearsals(
    expected: Float[np.ndarray, " tasks"], u: float
) -> Int[np.ndarray, " tasks"]:
    """Round expected counts at random: each count is right on average over u ~ U[0, 1),
    and their sum is kept exactly.

    Rounding to the nearest would give tasks with less than half an example none at all,
    and so turn a power law into recency. Systematic sampling instead marks the points
    u, u+1, u+2, ... on the line that the counts divide.
    """
    edges = np.floor(np.cumsum(expected) + u + 1e-9)
    return np.diff(edges, prepend=np.floor(u)).astype(int)


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


def slots(arrangement: str, budget: Budget, phase: int) -> tuple[int, int]:
    """Return how many examples phase 0, 1, 2, ... shows in all, and how many of them
    are rehearsed.
    """
    k, m = budget.examples, budget.rehearsed if phase else 0
    if arrangement == "joint":
        return k * (phase + 1), k * phase
    if (
        arrangement == "environment"
    ):  # whatever the shape, the old tasks get together what the power law gives them
        return k, round(k * (1 - shares(power_law(budget.alpha), phase + 1)[-1]))
    return k + m, m


def counts(
    environment: Environment, budget: Budget, phase: int, u: float
) -> Int[np.ndarray, " tasks"]:
    """Return how many examples of tasks 0..phase a phase shows, the new task last; `u`
    settles the rounding.

    Without rehearsal the new task gets the slots that the others spend on old ones, so
    that all take as many updates.
    """
    total, rehearsed = slots(environment.arrangement, budget, phase)
    old = np.zeros(phase, int)
    if phase and environment.weights:
        old = rehearsals(rehearsed * shares(environment.weights, phase), u)
    return np.append(old, total - old.sum())


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
        _draw(environment, budget, phase, task, n, seed) for task, n in enumerate(parts)
    ]
    shown = np.concatenate([drawn[-1], *drawn[:-1]])  # the new task first
    blocks = [shown]
    if environment.arrangement == "sequential" and phase:
        blocks = [shown[: budget.examples], shown[budget.examples :]]
    epochs = [(block, epoch) for block in blocks for epoch in range(budget.epochs)]
    order = np.concatenate(
        [rng(seed, "shuffle", phase, i, len(b)).permutation(b) for b, i in epochs]
    )
    return order[: len(order) // budget.batch * budget.batch].reshape(-1, budget.batch)


def _draw(
    environment: Environment,
    budget: Budget,
    phase: int,
    task: int,
    count: int,
    seed: int,
) -> np.ndarray:
    """Draw examples of a task without repeats as long as there are others left."""
    if environment.buffer and task < phase:
        pool = rng(seed, "buffer", task).permutation(budget.examples)[
            : environment.buffer
        ]
    else:
        pool = rng(seed, "examples", phase, task).permutation(budget.examples)
    return task * budget.examples + np.resize(pool, count)


# ----------------------------------------------------------------------- the experiment


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        budget: K, m, epochs, batch size and α; the first K training images of `source`
            are used.
        source: "digits" or "mnist".
        tasks, hidden, lr: N, the widths of the hidden layers, Adam's learning rate.
        watched: B, the first updates of a phase over which the learning curve's area is
            taken.
        ewc, si, rate: EWC's λ, SI's c and the β of the best exponential, all chosen by
            `tune` on seeds not reported.
        grid: settings of the robustness grid to run, names from `GRID`.
        alphas: exponents to run beside `budget.alpha`, mixed and sequential.
        joint: whether to train the upper bound.
        reset: forget the optimiser's moments at every new task.
    """

    budget: Budget
    source: str = "digits"
    tasks: int = 10
    hidden: tuple[int, ...] = (100, 100)
    lr: float = 3e-3
    watched: int = 50
    ewc: float = 1.0
    si: float = 0.3
    rate: float = 0.05
    grid: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    joint: bool = True
    reset: bool = False


def train(
    settings: Settings,
    seed: int,
    environments: Sequence[Environment],
    penalties: Penalties = free,
) -> History:
    """Train one network an environment through all tasks, side by side and from the
    same initial weights.

    The environments have to share their number of updates.
    """
    tasks = permuted_digits(
        settings.source, settings.tasks, settings.budget.examples, seed
    )

    def batches(phase: int) -> Int[np.ndarray, "steps members batch"]:
        return np.stack(
            [stream(e, settings.budget, phase, seed) for e in environments], axis=1
        )

    return learn(
        tasks,
        batches,
        settings.hidden,
        settings.lr,
        seed,
        settings.watched,
        penalties,
        settings.reset,
    )


def fresh_start(settings: Settings, seed: int) -> Float[Tensor, "tasks watched"]:
    """Train a new network on each task by itself for the watched updates; return its
    learning curves, in per cent.
    """
    tasks = permuted_digits(
        settings.source, settings.tasks, settings.budget.examples, seed
    )
    starts = []
    for n in range(len(tasks)):
        batches = stream(Environment(None), settings.budget, n, seed)[
            : settings.watched, None
        ]
        batches = batches - n * settings.budget.examples
        alone = learn(
            tasks.only(n),
            lambda _, b=batches: b,
            settings.hidden,
            settings.lr,
            seed,
            settings.watched,
        )
        starts.append(alone.start[0])
    return torch.cat(starts)


NONE, RECENCY, EXPONENTIAL, BEST, UNIFORM, POWER, JOINT = (
    "no rehearsal",
    "recency",
    "exponential",
    "best exponential",
    "uniform",
    "power law",
    "joint",
)
SHAPES = (NONE, RECENCY, EXPONENTIAL, UNIFORM, POWER)  # compared in every setting
AVERAGE, WORST, FORGETTING = "final average accuracy", "worst task", "forgetting"
SLOPE, HEAD_START = (
    "slope of the learning-curve area",
    "head start over a fresh network",
)
REHEARSED, UPDATES = "rehearsed examples", "updates"

BASE = "base"
GRID: dict[str, dict] = {  # what a setting of the robustness grid changes
    "5 tasks": {"tasks": 5},
    "20 tasks": {"tasks": 20},
    "50 tasks": {"tasks": 50},
    "width 32": {"hidden": (32, 32)},
    "width 300": {"hidden": (300, 300)},
    "m = 50": {"rehearsed": 50},
    "m = 200": {"rehearsed": 200},
    "α = 0.5": {"alpha": 0.5},
    "α = 2": {"alpha": 2.0},
    "sequential": {"arrangement": "sequential"},
    "environment": {"arrangement": "environment"},
    "optimiser reset": {"reset": True},
    "buffer of 20": {"buffer": 20},
}
BEYOND = (
    "50 tasks",
    "optimiser reset",
    "buffer of 20",
)  # our questions, not the paper's
ROBUST = (BASE, *(name for name in GRID if name not in BEYOND))


def comparison(
    settings: Settings, arrangement: str = "mixed", buffer: int | None = None
) -> dict[str, Environment]:
    """Return the environments that share a budget; the exponential has the power law's
    mean lag at the end.
    """
    law = power_law(settings.budget.alpha, shift=arrangement == "environment")
    weights = (
        None,
        recency,
        matched_exponential(law, settings.tasks - 1),
        power_law(0.0),
        law,
    )
    return {
        name: Environment(w, arrangement, buffer)
        for name, w in zip(SHAPES, weights, strict=True)
    }


def knob(alpha: float, arrangement: str = "mixed") -> str:
    """Name the method that is the power law with another exponent, or in another
    arrangement.
    """
    return f"power law, α = {alpha:g}, {arrangement}"


def run(settings: Settings, seed: int) -> Outcome:
    """Run all environments, the two regularisers, the joint bound and the robustness
    grid for one seed.
    """
    outcome = Outcome()
    outcome.exhibits["fresh"] = fresh_start(settings, seed)
    environments = comparison(settings) | {
        BEST: Environment(exponential(settings.rate))
    }
    for way in ("mixed", "sequential"):
        environments |= {
            knob(alpha, way): Environment(power_law(alpha), way)
            for alpha in settings.alphas
        }
    _score(outcome, environments, settings, seed)
    alone = dict.fromkeys(("EWC", "SI"), Environment(None))
    _score(outcome, alone, settings, seed, hold([settings.ewc], [settings.si]))
    if settings.joint:
        _score(outcome, {JOINT: Environment(power_law(0.0), "joint")}, settings, seed)
    for name in settings.grid:
        _score_setting(outcome, name, settings, seed)
    return outcome


def hold(ewc: Sequence[float], si: Sequence[float]) -> Penalties:
    """Hold the first networks of a stack back by EWC with these λ, and those after them
    by SI with these c.
    """

    def penalties(model: StackedMLP) -> tuple[EWC, SI]:
        strengths = model.weights[0].new_tensor(
            [[*ewc, *[0] * len(si)], [*[0] * len(ewc), *si]]
        )
        return EWC(model, strengths[0]), SI(model, strengths[1])

    return penalties


def _score(
    outcome: Outcome,
    environments: dict[str, Environment],
    settings: Settings,
    seed: int,
    penalties: Penalties = free,
) -> None:
    """Train in the base setting; score the networks and keep their curves."""
    history = train(settings, seed, list(environments.values()), penalties)
    phases = np.arange(1, settings.tasks + 1)
    area = history.start.mean(-1).numpy()  # LCA_n: (members, phases)
    fresh = outcome.exhibits["fresh"].mean(-1).numpy()
    _score_accuracy(outcome, environments, history)
    for i, (name, environment) in enumerate(environments.items()):
        accuracy = history.accuracy[i].numpy()
        # Phase 1 rehearses nothing and starts from random weights; facilitation is a
        # matter of the later phases.
        outcome.score(name, SLOPE, np.polyfit(phases[1:], area[i, 1:], 1)[0])
        outcome.score(name, HEAD_START, (area[i] - fresh)[1:].mean())
        _count(outcome, name, environment, settings, seed)
        outcome.curve(name, "accuracy by task", phases, accuracy[-1])
        outcome.curve(
            name,
            "accuracy so far",
            phases,
            [accuracy[n, : n + 1].mean() for n in range(len(phases))],
        )
        outcome.curve(name, "first task", phases, accuracy[:, 0])
        outcome.curve(name, "learning-curve area", phases, area[i])
        outcome.exhibits[name] = accuracy, history.start[i].numpy()


def _score_accuracy(
    outcome: Outcome, names: Iterable[str], history: History, setting: str = BASE
) -> None:
    """Score the accuracy matrices in a setting of the grid; the base setting counts by
    itself as well.
    """
    for metric, summary in {
        AVERAGE: final_average,
        WORST: worst_task,
        FORGETTING: forgetting,
    }.items():
        for name, value in zip(names, summary(history.accuracy), strict=True):
            if setting == BASE:
                outcome.score(name, metric, value)
            if setting != BASE or name in SHAPES:
                outcome.score(name, in_setting(metric, setting), value)


def _count(
    outcome: Outcome, name: str, environment: Environment, settings: Settings, seed: int
) -> None:
    """Count what a network was shown, from the very batches."""
    batches = [
        stream(environment, settings.budget, phase, seed)
        for phase in range(settings.tasks)
    ]
    old = sum(
        int((b < phase * settings.budget.examples).sum())
        for phase, b in enumerate(batches)
    )
    outcome.score(name, REHEARSED, old)
    outcome.score(name, UPDATES, sum(map(len, batches)))


def _score_setting(outcome: Outcome, name: str, settings: Settings, seed: int) -> None:
    """Train and score the environments in one setting of the grid."""
    changes = dict(GRID[name])
    arrangement, buffer = (
        changes.pop("arrangement", "mixed"),
        changes.pop("buffer", None),
    )
    budget = {key: changes.pop(key) for key in ("rehearsed", "alpha") if key in changes}
    settings = replace(
        settings, budget=replace(settings.budget, **budget), watched=0, **changes
    )
    environments = comparison(settings, arrangement, buffer)
    _score_accuracy(
        outcome, environments, train(settings, seed, list(environments.values())), name
    )


def tune(settings: Settings, seed: int) -> dict[str, dict[float, float]]:
    """Return A_N of each candidate for λ, c and β. Run it with seeds from 1000 up, and
    take what is best on average.
    """
    tried = {
        "ewc": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3, 1e4),
        "si": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0),
        "rate": (0.0, 0.05, 0.1, 0.2, 0.4, 0.8),
    }
    held = [Environment(None)] * (len(tried["ewc"]) + len(tried["si"]))
    rated = [Environment(exponential(rate)) for rate in tried["rate"]]
    average = iter(
        final_average(
            train(settings, seed, held, hold(tried["ewc"], tried["si"])).accuracy
        ).tolist()
        + final_average(train(settings, seed, rated).accuracy).tolist()
    )
    return {
        name: {value: next(average) for value in values}
        for name, values in tried.items()
    }


_EXTRA = "not found (the abstract gives no number); the margin is our choice"
_OTHERS = (
    "comparable or superior (abstract); numbers not found, the margin of 1 point is our"
    " choice"
)
_OPEN = "investigated (abstract); whether it was found, not found"
_ROBUST = (
    "robustness to tasks, model size and amount rehearsed (abstract); numbers not found"
)
_SIDES = {"a": EXPONENTIAL, "b": UNIFORM, "c": RECENCY}

_COMPARISONS = (
    Claim(
        "C1",
        "Rehearsal at power-law lags leaves far less interference than learning the"
        " tasks one by one.",
        AVERAGE,
        POWER,
        NONE,
        margin=5.0,
        reported=_EXTRA,
    ),
    *(
        Claim(
            key,
            f"A power-law environment keeps at least as much as {name}, tuned, does"
            " without old data.",
            AVERAGE,
            POWER,
            name,
            margin=1.0,
            kind="noninferiority",
            reported=_OTHERS,
        )
        for key, name in (("C2a", "EWC"), ("C2b", "SI"))
    ),
    *(
        Claim(
            f"C3{letter}",
            "Rehearsing as many examples, power-law lags are comparable or superior to"
            f" {name} ones.",
            metric,
            POWER,
            name,
            margin=1.0,
            kind="noninferiority",
            reported=_OTHERS,
        )
        for metric, letters in ((AVERAGE, "abc"), (WORST, "def"))
        for letter, name in zip(letters, _SIDES.values(), strict=True)
    ),
    Claim(
        "C4a",
        "In a power-law environment later tasks are learnt faster than earlier ones.",
        SLOPE,
        POWER,
        None,
        reported=_OPEN,
    ),
    Claim(
        "C4b",
        "Learning speeds up more from task to task than it does without rehearsal.",
        SLOPE,
        POWER,
        NONE,
        reported=_OPEN,
    ),
    Claim(
        "C4c",
        "A network from a power-law environment learns the next task faster than a"
        " fresh network.",
        HEAD_START,
        POWER,
        None,
        reported=_OPEN,
    ),
    Claim(
        "C5a",
        "The gain over no rehearsal holds for every number of tasks, width, budget,"
        " exponent and arrangement.",
        AVERAGE,
        POWER,
        NONE,
        everywhere=ROBUST,
        reported=_ROBUST,
    ),
    *(
        Claim(
            f"C5{letter}",
            f"Comparable or superior to {name} lags in every one of these settings.",
            AVERAGE,
            POWER,
            name,
            margin=1.0,
            kind="noninferiority",
            everywhere=ROBUST,
            reported=_ROBUST,
        )
        for letter, name in zip("bcd", _SIDES.values(), strict=True)
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C2a", "C3a", "C4a", "C5a")

_DIGITS = Settings(Budget(examples=1297, rehearsed=800))
_MNIST = Settings(
    Budget(examples=10_000, rehearsed=6_000), source="mnist", hidden=(400, 400), lr=1e-3
)

PAPER = Paper(
    slug="continual/power_law_rehearsal",
    title=(
        "Catastrophic Interference is Mitigated in Naturalistic Power-Law Learning"
        " Environments"
    ),
    arxiv="2401.10393",
    year=2024,
    bibkey="gandhi2024catastrophic",
    claims=CLAIMS,
    also=ALSO,
    profiles={
        "probe": replace(
            _DIGITS,
            budget=Budget(examples=40, rehearsed=40, epochs=1, batch=10),
            tasks=3,
            hidden=(16,),
            watched=4,
            grid=tuple(GRID),
            alphas=(0.0, 2.0),
        ),
        "quick": replace(_DIGITS, grid=("5 tasks", "width 32", "m = 200"), joint=False),
        "full": replace(
            _DIGITS, grid=tuple(GRID), alphas=(0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
        ),
        "mnist": replace(_MNIST, grid=("20 tasks", "50 tasks")),
    },
    run=run,
)
