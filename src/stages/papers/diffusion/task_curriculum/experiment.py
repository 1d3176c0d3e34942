"""The claims about a task curriculum, and the experiment that judges them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from stages.evidence import Claim, Gate, Outcome, Paper, in_setting
from stages.papers.diffusion.common import digits
from stages.papers.diffusion.task_curriculum import method, training
from stages.papers.diffusion.task_curriculum.method import (
    Curriculum,
    Interval,
    Patience,
    Reverse,
    Sampler,
)
from stages.papers.diffusion.task_curriculum.training import Recipe, Replay, Trained
from stages.seeding import torch_rng

LATE, FINAL = "mean log FD from 60 to 100 %", "final log FD"
NEAREST, HELD_OUT = "1-NN accuracy", "held-out loss"
ROOM, TAIL = "fall of log FD from 30 % on", "fall of log FD from 60 % on"
END, IN_TIME = "end of the stages", "stages end by 60 %"
CONVERGED, ENTROPY = "updates to converge", "relative entropy"
SLOWEST = "updates by which cluster 1 is last"
DISTANCE, STAGES, SAMPLES = "log FD", "stages", "samples"
UNIFORM, CURRICULUM, REVERSE = "uniform", "curriculum", "reverse"
SHUFFLED, MIN_SNR, BOTH = "curriculum, shuffled", "Min-SNR", "curriculum + Min-SNR"
ALONE, REAL = "a model for each cluster", "training images"

# --------------------------------------------------------------------------- the claims


def of(metric: str, cluster: int) -> str:
    """Name a metric of cluster 1 (the least noise) to N (the most)."""
    return in_setting(metric, f"cluster {cluster}")


CLAIMS = (
    Claim(
        "C1",
        "With the same number of updates, a curriculum from much to little noise gives"
        " better samples than uniform timesteps, averaged over the last 40 % of"
        " training.",
        LATE,
        CURRICULUM,
        UNIFORM,
        margin=0.05,
        lower_is_better=True,
        reported="better FID and faster convergence; numbers not found",
    ),
    Claim(
        "C2",
        "The order matters: from much to little noise is better than from little to"
        " much.",
        LATE,
        CURRICULUM,
        REVERSE,
        margin=0.05,
        lower_is_better=True,
        reported="easy to hard is the better order; numbers not found",
    ),
    Claim(
        "C3",
        "It is the order and not how often each timestep is drawn: the curriculum is"
        " better than its own timesteps in a random order.",
        LATE,
        CURRICULUM,
        SHUFFLED,
        margin=0.05,
        lower_is_better=True,
        origin="ours",
    ),
    Claim(
        "C4",
        "A curriculum also helps a training whose loss is weighted by Min-SNR.",
        LATE,
        BOTH,
        MIN_SNR,
        lower_is_better=True,
        reported="orthogonal to other improvements of training; numbers not found",
    ),
    Claim(
        "C5",
        "At the end of training the curriculum's samples are better than those of"
        " uniform timesteps.",
        FINAL,
        CURRICULUM,
        UNIFORM,
        lower_is_better=True,
        reported="better FID; numbers not found",
    ),
)


def less(key: str, text: str, metric: str, better: str, worse: str, **more) -> Claim:
    """Compare two arms on a metric of which less is better."""
    return Claim(key, text, metric, better, worse, lower_is_better=True, **more)


ALSO = (
    less("C1b", "Images told from real ones.", NEAREST, CURRICULUM, UNIFORM),
    less("C1c", "Loss at the least noise.", of(HELD_OUT, 1), CURRICULUM, UNIFORM),
    less("C1d", "Loss at the most noise.", of(HELD_OUT, 6), CURRICULUM, UNIFORM),
    less("C2b", "Uniform against the reverse order.", LATE, UNIFORM, REVERSE),
    less("C3b", "At the end of training.", FINAL, CURRICULUM, SHUFFLED),
    less("C3c", "What the curriculum's timesteps give.", LATE, SHUFFLED, UNIFORM),
    less("C4b", "Min-SNR against uniform.", LATE, MIN_SNR, UNIFORM),
    less(
        "C4c",
        "The curriculum's gain with Min-SNR against that without.",
        LATE,
        BOTH,
        MIN_SNR,
        over=(CURRICULUM, UNIFORM),
    ),
    less("C4d", "With Min-SNR, at the end of training.", FINAL, BOTH, MIN_SNR),
)
GATES = (
    Gate("Uniform's FD is three times that of real images", UNIFORM, FINAL, REAL, 1.1),
    Gate("Uniform still improves after 30 %", UNIFORM, ROOM, least=0.25),
    Gate("Uniform is nearly flat after 60 %", UNIFORM, TAIL, most=0.3),
    Gate("The curriculum ends by 60 % in each seed", CURRICULUM, IN_TIME, least=1),
    Gate("So does the reverse", REVERSE, IN_TIME, least=1),
    Gate("So does the one with Min-SNR", BOTH, IN_TIME, least=1),
    Gate("The least noise converges last", ALONE, SLOWEST, least=20),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        recipe: how every arm is trained.
        patience: of the curricula, in updates.
        smoothing: the share of itself that the watched loss keeps at each update.
        clusters: of timesteps.
        points: checkpoints, in equal strides; a multiple of ten.
        count: samples that are judged at a checkpoint.
        shown: samples that are kept for figures.
        alone: updates of a model for one cluster; it is tested at every `stride`.
        without: arms that are left out.
    """

    recipe: Recipe
    patience: int
    smoothing: float = 0.95
    clusters: int = 6
    points: int = 20
    count: int = 1000
    shown: int = 6
    alone: int = 400
    stride: int = 20
    without: tuple[str, ...] = ()

    def update(self, percent: float) -> int:
        """Return the update at which so much of the training is over."""
        return round(self.recipe.updates * percent / 100)

    @property
    def checkpoints(self) -> list[int]:
        """The updates after which samples are drawn."""
        return [self.update(100 * i / self.points) for i in range(1, self.points + 1)]


@dataclass(frozen=True)
class Arm:
    """One way to train: where timesteps come from, and whether Min-SNR weights them."""

    timesteps: Literal["uniform", "curriculum", "reverse", "shuffled"]
    weighted: bool = False


def arms(settings: Settings) -> dict[str, Arm]:
    """Return the arms by name, all six by default, the shuffled after its source."""
    made = {
        UNIFORM: Arm("uniform"),
        CURRICULUM: Arm("curriculum"),
        REVERSE: Arm("reverse"),
        SHUFFLED: Arm("shuffled"),
        MIN_SNR: Arm("uniform", weighted=True),
        BOTH: Arm("curriculum", weighted=True),
    }
    return {name: arm for name, arm in made.items() if name not in settings.without}


def sampler(
    arm: Arm, settings: Settings, drawn: dict[str, torch.Tensor], seed: int
) -> Sampler:
    """Make an arm's sampler; `drawn` has the timesteps of the arms before it."""
    if arm.timesteps == "uniform":
        return Interval(0, training.STEPS)
    if arm.timesteps == "shuffled":
        return Replay(drawn[CURRICULUM], seed)
    patience = Patience(settings.patience, settings.smoothing)
    kind = Reverse if arm.timesteps == "reverse" else Curriculum
    return kind(training.STEPS, settings.clusters, patience)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Train all arms of a seed from the same initial parameters, on the same images and
    noise; judge their samples at all checkpoints.
    """
    outcome = Outcome()
    images = digits.train_images()
    drawn = {}
    for name, arm in arms(settings).items():
        source = sampler(arm, settings, drawn, seed)
        trained = training.train(
            source, images, settings.recipe, seed, settings.checkpoints, arm.weighted
        )
        drawn[name] = trained.times
        score(outcome, name, trained, settings, seed)
        if isinstance(source, Curriculum):
            score_stages(outcome, name, source.ends, settings)
    outcome.score(REAL, FINAL, digits.log_floor())
    if ALONE not in settings.without:
        study(outcome, settings, seed)
    return outcome


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
    for i, cluster in enumerate(method.clusters(training.STEPS, settings.clusters), 1):
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


def study(outcome: Outcome, settings: Settings, seed: int) -> None:
    """Measure how hard each cluster is: train a model on it alone until 90 % of its
    loss's fall is over, and take the relative entropy in its middle.
    """
    recipe = replace(settings.recipe, updates=settings.alone, keep=0.0)
    checkpoints = range(settings.stride, settings.alone + 1, settings.stride)
    converged = []
    for i, cluster in enumerate(method.clusters(training.STEPS, settings.clusters), 1):
        trained = training.train(
            cluster, digits.train_images(), recipe, seed, checkpoints
        )
        times = torch.arange(cluster.low, cluster.high)
        loss = {
            update: training.held_out(model, digits.test_images(), times, seed)
            for update, model in trained.snapshots.items()
        }
        silent = training.held_out(training.silent, digits.test_images(), times, seed)
        converged.append(converges(loss, silent))
        outcome.score(ALONE, of(CONVERGED, i), converged[-1])
        outcome.curve(f"cluster {i}", HELD_OUT, loss, loss.values())
        entropy = method.relative_entropy(
            digits.train_images(),
            (cluster.low + cluster.high) // 2,
            training.SIGNAL,
            settings.count,
            torch_rng(seed, "entropy"),
        )
        outcome.score(ALONE, of(ENTROPY, i), entropy)
    outcome.score(ALONE, SLOWEST, converged[0] - max(converged[1:]))


def converges(loss: dict[int, float], start: float) -> int:
    """Return the first update at which 90 % of the fall from `start` to the last loss
    is over.
    """
    *_, last = loss.values()
    enough = start - 0.9 * (start - last)
    return next(update for update, value in loss.items() if value <= enough)


FULL = Settings(recipe=Recipe(lr=1e-3, updates=2500), patience=20)

PAPER = Paper(
    slug="diffusion/task_curriculum",
    title="Denoising Task Difficulty-based Curriculum for Training Diffusion Models",
    arxiv="2403.10348",
    year=2024,
    bibkey="kim2025denoising",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(),
    profiles={
        "probe": replace(
            FULL,
            recipe=replace(FULL.recipe, updates=20, batch=16, keep=0.5),
            patience=1,
            points=10,
            count=100,
            alone=8,
            stride=2,
        ),
        "quick": replace(
            FULL,
            recipe=replace(FULL.recipe, updates=400),
            patience=5,
            points=10,
            without=(REVERSE, MIN_SNR, BOTH, ALONE),
        ),
        "full": FULL,
    },
    run=run,
)
