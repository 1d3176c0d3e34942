"""The claims about score implicit matching, and the experiment that judges them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from stages import zoo
from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.diffusion.common import digits as judge
from stages.papers.diffusion.score_implicit_matching import method, rivals
from stages.papers.diffusion.score_implicit_matching.method import Recipe, Student
from stages.papers.diffusion.score_implicit_matching.scores import (
    DISTANCE,
    PRECISION,
    RECALL,
    TOLD_APART,
    Images,
    compare,
    draw,
    heun_images,
    log_distance,
)
from stages.seeding import torch_rng

OVER_RUN, DIVERGED = "mean log FD over the run", "diverged"
CALLS, CURVE = "calls", "log FD against calls"
SIM, L2, SID = "SIM, Pseudo-Huber", "SIM, L2", "SiD, α = 1.2"
KL, NAIVE, PAIRS = "Diff-Instruct", "naive", "regression on pairs"
TEACHER, FAST, BEST = "teacher, 35 calls", "teacher, 5 calls", "teacher, best count"
START, REAL, LAST = "before training", "training images", "SIM, last weights"

# --------------------------------------------------------------------------- the claims


def lower(key: str, text: str, better: str, worse: str, **how) -> Claim:
    """Make a claim on a log FD, where lower is better."""
    metric = how.pop("metric", DISTANCE)
    return Claim(key, text, metric, better, worse, lower_is_better=True, **how)


CLAIMS = (
    lower(
        "C1",
        "In one call the student is as good as its teacher in 35, up to a factor of 1.5"
        " in Fréchet distance.",
        SIM,
        TEACHER,
        margin=math.log(1.5),
        kind="noninferiority",
        reported="FID 2.06 in one call against 1.97 in 35 (CIFAR-10); the margin is"
        " ours",
    ),
    lower(
        "C2",
        "In one call it is far better than its teacher in five.",
        SIM,
        FAST,
        margin=0.5,
        reported="not found for five calls; the margin is ours",
    ),
    lower(
        "C3",
        "With the Pseudo-Huber distance it learns faster than with the squared one.",
        SIM,
        L2,
        metric=OVER_RUN,
        margin=0.05,
        reported="faster and more robust; size not found",
    ),
    lower(
        "C4",
        "It is better than regression on stored pairs of noise and teacher sample, for"
        " as many teacher calls.",
        SIM,
        PAIRS,
        margin=0.1,
        origin="ours",
    ),
    Claim(
        "C5",
        "It covers more of the data than Diff-Instruct, which descends a KL"
        " divergence.",
        RECALL,
        SIM,
        KL,
        reported="more diverse, say the authors elsewhere; size not found",
    ),
)
ALSO = tuple(
    Claim(key, text, metric, *sides, lower_is_better=metric not in (RECALL, PRECISION))
    for key, text, metric, *sides in (
        ("C1b", "Against the teacher at its best count.", DISTANCE, SIM, BEST),
        ("C1c", "What averaging the weights gives.", DISTANCE, SIM, LAST),
        ("C3b", "Against the squared distance, at the end.", DISTANCE, SIM, L2),
        ("C3c", "Against SiD, over the run.", OVER_RUN, SIM, SID),
        ("C3d", "Against Diff-Instruct, over the run.", OVER_RUN, SIM, KL),
        ("C3e", "Against Diff-Instruct, at the end.", DISTANCE, SIM, KL),
        ("C3f", "Against the naive loss.", DISTANCE, SIM, NAIVE),
        ("C3g", "Diverged runs of the naive loss.", DIVERGED, SIM, NAIVE),
        ("C3h", "Diverged runs of the squared distance.", DIVERGED, SIM, L2),
        ("C4b", "Told from data, against the pairs.", TOLD_APART, SIM, PAIRS),
        ("C4c", "Told from data, against the teacher.", TOLD_APART, SIM, TEACHER),
        ("C5b", "Recall, against the teacher.", RECALL, SIM, TEACHER),
        ("C5c", "Recall, against the pairs.", RECALL, SIM, PAIRS),
        ("C5d", "Precision, against Diff-Instruct.", PRECISION, SIM, KL),
    )
)
GATES = (
    Gate(
        "In 35 calls the teacher is near real images (log FD above theirs)",
        TEACHER,
        DISTANCE,
        REAL,
        most=math.log(4),
    ),
    Gate(
        "In five calls it is far worse (log FD above that in 35)",
        FAST,
        DISTANCE,
        TEACHER,
        least=math.log(3),
    ),
    Gate(
        "Its copy, in one call, is no generator yet (log FD above that in 35)",
        START,
        DISTANCE,
        TEACHER,
        least=math.log(10),
    ),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        sim, l2, sid, kl, naive, pairs: the arms' rates.
        iterations, batch: of every student.
        huber: c, as a share of the data's deviation times √pixels.
        pair_levels: noise levels of Heun's method in the bank of pairs.
        levels: the teacher is tested at 2 n - 1 calls for each n of these.
        checks: how often a student is tested in training.
        samples: images a test draws.
    """

    sim: float = 1e-3
    l2: float = 1e-3
    sid: float = 1e-3
    kl: float = 1e-3
    naive: float = 3e-4
    pairs: float = 1e-3
    iterations: int = 1_500
    batch: int = 64
    huber: float = 0.1
    pair_levels: int = 7
    levels: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 18, 26)
    checks: int = 10
    samples: int = 2_000


Learn = Callable[..., tuple[nn.Module, nn.Module]]


@dataclass(frozen=True)
class Arm:
    """A student: how it learns from the teacher, and Adam's rate."""

    learn: Learn
    rate: float


def arms(data: float, settings: Settings) -> dict[str, Arm]:
    """Return the students by name, for data of this deviation."""

    def distilled(loss: Callable) -> Learn:
        return partial(method.distil, loss=loss)

    c = settings.huber * data * math.sqrt(Recipe(0).pixels)
    huber = partial(method.pseudo_huber, c=c)
    squared = partial(rivals.identity_distillation, alpha=1.0)
    sid = partial(rivals.identity_distillation, alpha=1.2)
    regress = partial(rivals.regress, levels=settings.pair_levels)
    return {
        SIM: Arm(distilled(partial(method.implicit, slope=huber)), settings.sim),
        L2: Arm(distilled(squared), settings.l2),
        SID: Arm(distilled(sid), settings.sid),
        KL: Arm(distilled(rivals.diff_instruct), settings.kl),
        NAIVE: Arm(distilled(rivals.naive), settings.naive),
        PAIRS: Arm(regress, settings.pairs),
    }


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Train the students of a seed, and hold them and their teacher against the test
    images; all draw from the same noise.
    """
    outcome = Outcome()
    teacher = zoo.load("digits_edm")
    shape = settings.samples, Recipe(0).pixels
    noise = torch.randn(shape, generator=torch_rng(seed, "test noise"))
    test_teacher(outcome, teacher, noise, settings)
    outcome.score(REAL, DISTANCE, judge.log_floor())
    before = Student(teacher, Recipe(0).start)
    start = log_distance(draw(before, noise))
    outcome.score(START, DISTANCE, start)
    for name, arm in arms(teacher.data, settings).items():
        last, student, curve = learn(arm, teacher, noise, settings, seed)
        test(outcome, name, draw(student, noise), curve, start)
        if name == SIM:
            outcome.score(LAST, DISTANCE, log_distance(draw(last, noise)))
    return outcome


def learn(
    arm: Arm, teacher: nn.Module, noise: Images, settings: Settings, seed: int
) -> tuple[nn.Module, nn.Module, dict[int, float]]:
    """Train a student; return it after its last step, its moving average, and the log
    FD of that average at equally many iterations apart.
    """
    recipe = Recipe(arm.rate, settings.iterations, settings.batch)
    every = settings.iterations // settings.checks
    curve = {}

    def watch(step: int, student: nn.Module) -> None:
        if step % every == 0:
            curve[step] = log_distance(draw(student, noise))

    last, student = arm.learn(teacher, recipe=recipe, seed=seed, watch=watch)
    return last, student, curve


def test(
    outcome: Outcome, name: str, images: Images, curve: dict[int, float], start: float
) -> None:
    """Score a student's images; it has diverged if it is no better than its start."""
    compare(outcome, name, images)
    outcome.score(name, OVER_RUN, sum(curve.values()) / len(curve))
    outcome.score(name, DIVERGED, log_distance(images) >= start)
    outcome.curve(name, DISTANCE, curve, curve.values())


def test_teacher(
    outcome: Outcome, teacher: nn.Module, noise: Images, settings: Settings
) -> None:
    """Score the teacher at each of its counts of calls."""
    drawn = heun_images(teacher, noise, settings.levels)
    curve = {calls: log_distance(images) for calls, images in drawn.items()}
    best = min(curve, key=curve.get)
    compare(outcome, TEACHER, drawn[35])
    compare(outcome, FAST, drawn[5])
    outcome.score(BEST, DISTANCE, curve[best])
    outcome.score(BEST, CALLS, best)
    outcome.curve("teacher", CURVE, curve, curve.values())


FULL = Settings()

PAPER = Paper(
    slug="diffusion/score_implicit_matching",
    title="One-Step Diffusion Distillation through Score Implicit Matching",
    arxiv="2410.16794",
    year=2024,
    bibkey="luo2024onestep",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, prototypes on one seed with a teacher of 3,000"
        " updates had reached FD 4.8 with Pseudo-Huber, 4.7 with L2, 5.4 with"
        " Diff-Instruct and 6.0 with pairs at rate 3e-4; at 1e-3 and 450 iterations"
        " 4.5 with Pseudo-Huber and 3.7 with L2. One run of this code, at 1e-3 on seed"
        " 1000, had reached log FD -1.5 with both, -1.3 with Diff-Instruct, -0.8 with"
        " pairs and 4.1 with the naive loss; recall was between 93 and 98 % for all"
        " but the last.",
        "On tuning seeds all students' 600 iterations became 1,500, and the moving"
        " average keeps 0.995 instead of 0.99: Pseudo-Huber was at log FD -1.2 and -1.6"
        " after 600, and at -1.7 after 1,500. It is still getting better there.",
        "A pair costs 13 teacher calls, the best of 9, 13 and 19 on a tuning seed; with"
        " 9, as in the first code, the student of the pairs reached -1.2 instead of"
        " -1.5.",
    ),
    profiles={
        "probe": replace(
            FULL, iterations=12, batch=16, levels=(1, 3, 18), checks=2, samples=500
        ),
        "quick": replace(FULL, iterations=150, checks=6, levels=(1, 3, 5, 10, 18)),
        "full": FULL,
    },
    run=run,
)
