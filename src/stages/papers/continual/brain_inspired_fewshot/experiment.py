"""The claims about fast and slow weights, and the experiment that judges them."""

from dataclasses import dataclass, replace

import numpy as np

from stages.evidence import Claim, Gate, Outcome, Paper, in_setting
from stages.papers.continual.brain_inspired_fewshot import scores, training
from stages.papers.continual.brain_inspired_fewshot.method import Strengths
from stages.papers.continual.brain_inspired_fewshot.training import (
    Arm,
    Base,
    FewShotStream,
    Learnt,
)
from stages.papers.continual.common import metrics

TSC, NO_PULL = "TSC-style", "no pull (μ = 0)"
FINE, GENTLE, EWC = "fine-tuning", "gentle fine-tuning", "EWC"
JOINT, L2SP = "joint", "joint, L2-SP"
MEANS = "frozen, class means"
ACCURACY = "accuracy"
AXES = ("old tasks", "new classes")
OLD, NEW = (in_setting(ACCURACY, axis) for axis in AXES)
SLOPE = "slope of few-shot accuracy"
APART = "new classes, slow minus fast weights"
FORGETTING, LEARNT = "forgetting", "right after learning"
UNNAMED = "old tasks, task not named"
MOVED = "distance moved"
BY_TASK = "accuracy by task"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "TSC-style fast weights know all tasks seen better than training on all of them"
        " at once.",
        OLD,
        TSC,
        JOINT,
        margin=1.0,
        reported="better than joint training (abstract); numbers not found, the margin"
        " is our choice",
    ),
    Claim(
        "C2",
        "The slow weights get better at new classes with every task.",
        SLOPE,
        TSC,
        reported="substantially improved from incoming tasks (abstract); numbers not"
        " found",
    ),
    Claim(
        "C3",
        "Two sets of weights beat one, fine-tuned gently, on old tasks and on new"
        " classes alike.",
        ACCURACY,
        TSC,
        GENTLE,
        everywhere=AXES,
        reported="two sets disentangle two goals (abstract); numbers not found",
    ),
    Claim(
        "C4",
        "Fast weights that are pulled to the slow ones know old tasks better than those"
        " that are not.",
        OLD,
        TSC,
        NO_PULL,
        reported="the sets are updated interdependently (abstract); ablations not"
        " found",
    ),
)
ALSO = (
    Claim("C1b", "With joint training pulled to the base.", OLD, TSC, L2SP),
    Claim("C1c", "Against class means of the frozen network.", OLD, TSC, MEANS),
    Claim("C1d", "What joint training gains over those.", OLD, JOINT, MEANS),
    Claim("C1e", "With the task not named.", UNNAMED, TSC, MEANS),
    Claim("C2b", "New classes after all tasks.", NEW, TSC, MEANS),
    Claim("C2c", "What EWC gives up on new classes.", NEW, MEANS, EWC),
    Claim("C3b", "Against EWC.", ACCURACY, TSC, EWC, everywhere=AXES),
    Claim("C3c", "How far the sets differ.", APART, TSC),
    Claim("C4b", "The pull, on new classes.", NEW, TSC, NO_PULL),
    Claim("C4c", "How far fast weights go.", MOVED, TSC, NO_PULL, lower_is_better=True),
)
GATES = (
    Gate("The base network tells new characters apart", MEANS, NEW, least=75, most=88),
    Gate("Fine-tuning forgets old tasks", FINE, FORGETTING, least=5),
    Gate("It costs accuracy on new classes", MEANS, NEW, FINE, least=1),
    Gate("Joint training learns more than a frozen network", JOINT, OLD, MEANS, 1),
    Gate("The fast weights move (per cent)", TSC, MOVED, least=2),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        tasks, shots, steps: T, K, and full-batch updates a task.
        episodes: 5-way 5-shot episodes on held-out classes.
        base_tasks: few-shot tasks that the base network's importance comes from.
        rates: η of the slider's frames, each with and without protection.
        only: arms that are trained; all where it is empty.
    """

    tasks: int = 8
    shots: int = 5
    steps: int = 40
    episodes: int = 400
    base_tasks: int = 12
    rates: tuple[float, ...] = ()
    only: tuple[str, ...] = ()


TUNED = Strengths(protect=0.1, pull=0.03, slow=0.2, guard=1.0)
ARMS = {
    TSC: Arm(TUNED),
    NO_PULL: Arm(replace(TUNED, pull=0.0)),
    FINE: Arm(),
    GENTLE: Arm(lr=0.0005),
    EWC: Arm(Strengths(protect=0.3)),
    JOINT: Arm(lr=0.01, way="together"),
    L2SP: Arm(Strengths(pull=0.01), way="together"),
    MEANS: Arm(way="not at all"),
}


def knob(rate: float, protected: bool) -> str:
    """Name the TSC-style arm with another slow rate, with or without protection."""
    if protected and rate == TUNED.slow:
        return TSC
    return f"TSC-style, η = {rate:g}, λ {'as chosen' if protected else '= 0'}"


def arms(settings: Settings) -> dict[str, Arm]:
    """Return the arms by name, all eight by default, and the slider's frames."""
    chosen = settings.only or tuple(ARMS)
    made = {name: arm for name, arm in ARMS.items() if name in chosen}
    for rate in settings.rates:
        strengths = replace(TUNED, slow=rate)
        made[knob(rate, True)] = Arm(strengths)
        made[knob(rate, False)] = Arm(replace(strengths, protect=0.0))
    return made


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Let all arms of a seed learn one stream from one base network; score them."""
    outcome = Outcome()
    base = training.load_base(settings.base_tasks)
    stream = training.draw_stream(
        settings.tasks, settings.shots, settings.episodes, seed
    )
    for name, arm in arms(settings).items():
        learnt = training.learn(base, stream, arm, settings.steps, seed)
        score(outcome, name, learnt, base, stream)
    return outcome


def score(
    outcome: Outcome, name: str, learnt: Learnt, base: Base, stream: FewShotStream
) -> None:
    """Score old tasks by the fast weights, and new classes by the slow ones."""
    last = learnt.last
    accuracy = scores.accuracy_matrix(base, learnt, stream)
    new = [scores.few_shot(base.network, s.slow, stream) for s in learnt.snapshots]
    by_fast = scores.few_shot(base.network, last.fast, stream)
    unnamed = scores.not_named(base.network, last.fast, learnt.heads, stream.query)
    outcome.score(name, OLD, metrics.final_average(accuracy))
    outcome.score(name, NEW, new[-1])
    outcome.score(name, APART, new[-1] - by_fast)
    outcome.score(name, UNNAMED, unnamed)
    outcome.score(name, MOVED, scores.distance_moved(base.weights, last.fast))
    tasks = range(1, len(stream.query) + 1)
    outcome.curve(name, BY_TASK, tasks, accuracy[-1])
    if len(new) > 1:  # tasks came in sequence
        outcome.score(name, SLOPE, np.polyfit(range(len(new)), new, 1)[0])
        outcome.score(name, FORGETTING, metrics.forgetting(accuracy))
        outcome.score(name, LEARNT, metrics.new_task(accuracy))
        outcome.curve(name, AXES[0], tasks, metrics.average_so_far(accuracy))
        outcome.curve(name, AXES[1], range(len(new)), new)


FULL = Settings(rates=(0.0, 0.2, 0.5, 1.0))

PAPER = Paper(
    slug="continual/brain_inspired_fewshot",
    title="Few-shot Continual Learning: a Brain-inspired Approach",
    arxiv="2104.09034",
    year=2021,
    bibkey="wang2021fewshot",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "An earlier version was recorded with 16 arms, among them MAS, Reptile, 1 and"
        " 20 shots, and more ablations. Its C1 was -2.1 [-3.0, -1.2]; the other three"
        " claims, then C3a, C4a and C5a, were inconclusive. The claims are the same;"
        " four of the five gates are new, and were fixed after that record.",
        "Since then all arms start from the book's network glyph_conv4 in place of one"
        " trained alike within the experiment, and the slope is fitted to all nine"
        " points in place of six.",
        "The strengths were tuned for the earlier version: nine candidates an arm, and"
        " 17 for the TSC-style one. On seeds 1000 and 1001 and the new base network the"
        " neighbours of each were tried again. A pull of 0.03 for joint, L2-SP gave 0.4"
        " points more on the mean of both axes, every other one at most 0.2; nothing"
        " was changed.",
    ),
    profiles={
        "probe": Settings(tasks=2, steps=3, episodes=3, base_tasks=1, rates=(0.5,)),
        "quick": Settings(
            tasks=3, episodes=100, base_tasks=4, only=(TSC, GENTLE, JOINT)
        ),
        "full": FULL,
    },
    run=run,
)
