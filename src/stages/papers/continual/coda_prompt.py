"""CODA-Prompt: a prompt as a weighted sum of components, learnt from the task's own
loss.

Smith et al., "CODA-Prompt: COntinual Decomposed Attention-based Prompting for
Rehearsal-Free Continual Learning", arXiv 2211.13218 (CVPR 2023). A frozen transformer
learns task after task from prompts. Pools pick a prompt by its key, and no gradient of
the loss passes a choice; CODA-Prompt sums all components with signed attention weights
instead, so that keys, attention and components all learn from it. Each task adds
components of its own and freezes the older ones.

What differs from the paper: a transformer of 0.3 M weights on drawn shapes (Shapes-R)
in place of ViT-B/16 on ImageNet-R; prompts in the last three of four blocks in place of
the first five of twelve; fewer, larger steps; no augmentation. Components grow by
Gram-Schmidt and carry no orthogonality penalty, as in the released code; the penalty is
an ablation. The prompts themselves are in `stages.papers.continual.common`, since other
papers build on them.
"""

from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from stages import zoo
from stages.evidence import Claim, Outcome, Paper, divide
from stages.models import ViT
from stages.papers.continual.common import loop, metrics, streams
from stages.papers.continual.common.arms import (
    BLOCKS,
    CODA,
    COMPONENTS,
    DEEP,
    DUAL,
    FT,
    FTPP,
    HEAD,
    L2PP,
    LENGTH,
    MEAN,
    ONE,
    RATES,
    SCALES,
    WIDTH,
    make_learner,
    make_prompt,
)
from stages.papers.continual.common.loop import Budget, Encoded
from stages.papers.continual.common.metrics import accuracy_matrix
from stages.papers.continual.common.prompts import CodaPrompt, Prompt
from stages.papers.continual.common.streams import Stream
from stages.training import pick_device

# ---------------------------------------------------------- the penalty, as an ablation


class Penalised(CodaPrompt):
    """CODA-Prompt as the paper's text has it: a penalty keeps components, keys and
    attention vectors orthogonal.

    Args:
        penalty: λ; its value was not found, 0.1 is our choice.
    """

    def __init__(self, *arguments, penalty: float = 0.1, **options):
        super().__init__(*arguments, **options)
        self.penalty = penalty

    def forward(
        self, query: Float[Tensor, "batch width"]
    ) -> tuple[dict, Float[Tensor, ""]]:
        """Return p(x), and λ (L(P) + L(K) + L(A)) beside the side loss."""
        given, side = super().forward(query)
        banks = self.components / self.scale, self.keys, self.attention
        return given, side + self.penalty * sum(
            not_orthogonal(self.rows(bank)) for bank in banks
        )


def not_orthogonal(bank: Float[Tensor, "blocks rows n"]) -> Float[Tensor, ""]:
    """Compute L(B), the mean of (B Bᵀ - I)² over its entries, summed over blocks: zero
    for orthonormal rows.
    """
    return (
        (bank @ bank.mT - torch.eye(bank.shape[1], device=bank.device))
        .square()
        .mean((1, 2))
        .sum()
    )


# ----------------------------------------------------------------------- the experiment


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        tasks, ways, train, test: of the main stream: tasks, classes in each, pictures
            of each class.
        steps, batch: updates of the whole stream, shared out evenly over its tasks, and
            pictures in each.
        methods: which arms run on the main stream.
        lengths: other numbers of tasks for the same classes (C2).
        capacity: CODA-Prompt's components in all to try; the pools get as many weights
            (C5).
        shifted: arms of the stream whose styles change with its tasks (C6).
    """

    tasks: int = 5
    ways: int = 8
    train: int = 200
    test: int = 25
    steps: int = 1000
    batch: int = 32
    methods: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    capacity: tuple[int, ...] = ()
    shifted: tuple[str, ...] = ()


JOINT, JOINT_CODA = "joint, all weights", "joint, CODA-Prompt"
JOINT_ONE, JOINT_HEAD = "joint, OnePrompt", "joint, head only"
# of all weights on all classes: a bound without a budget, it takes twice the updates
JOINT_RATE = 3e-3
PLAIN, THAWED, RANDOM, HARD, PENALTY = (
    "no attention (A = 1)",
    "no freezing",
    "random start",
    "one component at a time",
    "with penalty",
)
ABLATIONS: dict[str, dict] = {
    PLAIN: {"attend": False},
    THAWED: {"freeze": False},
    RANDOM: {"orthogonal": False},
    HARD: {"hard": True},
}
AVERAGE, NEW, FORGOTTEN, FELL = (
    "average accuracy",
    "new-task accuracy",
    "forgetting",
    "global forgetting",
)
ALONG, CROSS, WITHIN = "average over time", "cross-task errors", "within-task errors"
WEIGHTS, PASSES, PICTURES = "trained weights", "forward passes", "pictures in updates"


def prompt_of(
    method: str,
    tasks: int,
    seed: int,
    components: int = COMPONENTS,
    scale: float | None = None,
) -> Prompt | None:
    """Make the prompt of a method or of an ablation of CODA-Prompt."""
    if method == PENALTY:
        return Penalised(
            tasks, components, LENGTH, BLOCKS, WIDTH, scale or SCALES[CODA], seed
        )
    return make_prompt(
        method, tasks, seed, components, scale, **ABLATIONS.get(method, {})
    )


@dataclass(frozen=True)
class Result:
    """A stream learnt: the test logits after each task, weights trained, forward passes
    a picture.
    """

    logits: Float[Tensor, "tasks test classes"]
    weights: int
    passes: int


def learn(
    method: str,
    vit: ViT,
    stream: Stream,
    encoded: Encoded,
    settings: Settings,
    seed: int,
    components: int = COMPONENTS,
    rate: float | None = None,
    scale: float | None = None,
) -> Result:
    """Teach a stream by a method; without `rate` and `scale`, the tuned ones, of
    CODA-Prompt for its ablations.
    """
    if method == MEAN:
        return Result(loop.nearest_mean(encoded, stream), 0, 1)
    prompt = (
        None
        if method in (FT, FTPP)
        else prompt_of(method, len(stream), seed, components, scale)
    )
    learner = make_learner(method, vit, stream, encoded, seed, prompt)
    budget = Budget(settings.steps // len(stream), settings.batch)
    logits = loop.learn_stream(
        learner, stream, budget, rate or RATES.get(method, RATES[CODA]), seed
    )
    return Result(logits, learner.trained, learner.passes)


def run(settings: Settings, seed: int) -> Outcome:
    """Run the main stream, its joint bounds and ablations, and the streams of C2, C5
    and C6 for one seed.
    """
    outcome, vit = Outcome(), zoo.load("vit_p8").to(pick_device())
    stream, encoded = open_stream(vit, settings, seed)
    bounds = {JOINT: FTPP, JOINT_CODA: CODA, JOINT_ONE: ONE, JOINT_HEAD: HEAD}
    for method in settings.methods:
        given = stream.joint() if method in bounds else stream
        freely = (
            replace(settings, steps=2 * settings.steps) if method == JOINT else settings
        )
        rate = JOINT_RATE if method == JOINT else None
        result = learn(
            bounds.get(method, method), vit, given, encoded, freely, seed, rate=rate
        )
        _score(outcome, method, given, result, freely)
    for tasks, method in product(settings.lengths, (CODA, DUAL)):
        cut = replace(stream, ways=stream.classes // tasks)
        _score(
            outcome,
            in_tasks(method, tasks),
            cut,
            learn(method, vit, cut, encoded, settings, seed),
            settings,
        )
    for size, method in product(settings.capacity, (CODA, L2PP, DUAL)):
        result = learn(method, vit, stream, encoded, settings, seed, size)
        _score(outcome, sized(method, size), stream, result, settings)
    if settings.shifted:
        stream, encoded = open_stream(vit, settings, seed, dual_shift=True)
    for method in settings.shifted:
        _score(
            outcome,
            shifted(method),
            stream,
            learn(method, vit, stream, encoded, settings, seed),
            settings,
        )
    return outcome


def open_stream(
    vit: ViT, settings: Settings, seed: int, dual_shift: bool = False
) -> tuple[Stream, Encoded]:
    """Draw a seed's stream, and pass it through the frozen network as far as the first
    prompt.
    """
    sizes = {"train": settings.train, "test": settings.test}
    stream = streams.shapes_r(
        settings.tasks, settings.ways, seed, dual_shift=dual_shift, **sizes
    )
    return stream, loop.encode(vit, stream, BLOCKS[0])


def in_tasks(method: str, tasks: int) -> str:
    """Name a method on the same classes in another number of tasks."""
    return f"{method}, {tasks} tasks"


def sized(method: str, components: int) -> str:
    """Name a method of the size of CODA-Prompt with so many components."""
    return f"{method}, size {components}"


def shifted(method: str) -> str:
    """Name a method on the stream whose styles change with its tasks."""
    return f"{method}, dual shift"


def _score(
    outcome: Outcome, method: str, stream: Stream, result: Result, settings: Settings
) -> None:
    """Score the logits on a stream, and keep the curves."""
    labels, ways, logits = stream.test_labels, stream.ways, result.logits
    seen, own, then = (
        accuracy_matrix(logits, labels, ways, among)
        for among in ("seen", "own", "then")
    )
    updates = settings.steps // len(stream) * len(stream) * (result.weights > 0)
    scores = {
        AVERAGE: metrics.final_average(seen),
        NEW: metrics.new_task(own),
        WEIGHTS: result.weights,
        PASSES: result.passes,
    }
    scores[PICTURES] = updates * settings.batch
    if len(stream) > 1:
        wrong = metrics.mistakes(logits[-1], labels, ways)
        scores |= {
            FORGOTTEN: metrics.forgetting(seen),
            FELL: metrics.global_forgetting(then),
            ALONG: metrics.average_so_far(seen).mean(),
        }
        scores |= {CROSS: wrong.cross_task, WITHIN: wrong.within_task}
        tasks = range(1, len(stream) + 1)
        outcome.curve(
            method, "accuracy so far", tasks, metrics.average_so_far(seen).tolist()
        )
        outcome.curve(method, "task named, when learnt", tasks, own.diagonal().tolist())
        outcome.curve(method, "task named, at the end", tasks, own[-1].tolist())
    for metric, value in scores.items():
        outcome.score(method, metric, value)


def tune(settings: Settings, seed: int) -> dict[str, dict[tuple[float, float], float]]:
    """Return A_2 after the first two tasks for six pairs (learning rate, scale of the
    initial prompts) a method.

    Run it with seeds from 1000 up. A longer prefix would let the future of the stream
    into the choice. Without a prompt there is no scale, so six rates are tried instead.
    """
    vit = zoo.load("vit_p8").to(pick_device())
    short = replace(settings, tasks=2, steps=2 * (settings.steps // settings.tasks))
    stream, encoded = open_stream(vit, short, seed)
    size = (
        COMPONENTS * 2 // settings.tasks
    )  # as many components a task as in the whole stream
    rates = (3e-3, 1e-2, 3e-2)
    pairs: dict[str, list[tuple[float, float]]] = {
        CODA: list(product(rates, (1.0, 4.0)))
    }
    pairs |= {key: list(product(rates, (0.1, 1.0))) for key in (DUAL, L2PP, DEEP, ONE)}
    pairs |= {HEAD: [(rate, 1.0) for rate in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)]}
    pairs |= {
        key: [(rate, 1.0) for rate in (3e-05, 0.0001, 0.0003, 0.001, 0.003, 0.01)]
        for key in (FTPP, FT)
    }
    found: dict[str, dict[tuple[float, float], float]] = {}
    for method, tried in pairs.items():
        for rate, scale in tried:
            result = learn(method, vit, stream, encoded, short, seed, size, rate, scale)
            matrix = accuracy_matrix(result.logits, stream.test_labels, stream.ways)
            found.setdefault(method, {})[rate, scale] = metrics.final_average(
                matrix
            ).item()
    return found


# --------------------------------------------------------------------------- the claims

_MORE = "not found; the ablation exists in the paper, its numbers were not open to us"

_COMPARISONS = (
    Claim(
        "C1",
        "Summing components beats choosing prompts by task: CODA-Prompt ends above"
        " DualPrompt.",
        AVERAGE,
        CODA,
        DUAL,
        margin=0.5,
        reported="75.5 against 71.3 on ImageNet-R, 10 tasks",
    ),
    Claim(
        "C1b",
        "It ends above a pool of prompts in one block.",
        AVERAGE,
        CODA,
        L2PP,
        margin=0.5,
        reported="75.5 against 69.3 on ImageNet-R, 10 tasks",
    ),
    Claim(
        "C1c",
        "It ends above a linear head on the same frozen features.",
        AVERAGE,
        CODA,
        HEAD,
        margin=0.5,
        reported="not found; the control is ours",
        origin="ours",
    ),
    Claim(
        "C2",
        "The gap to DualPrompt is larger in 20 tasks than in 5.",
        AVERAGE,
        in_tasks(CODA, 20),
        in_tasks(DUAL, 20),
        over=(CODA, DUAL),
        reported="4.50 points in 20 tasks, 3.46 in 5",
    ),
    Claim(
        "C3a",
        "The gain is plasticity: CODA-Prompt learns each new task better than"
        " DualPrompt, the task named.",
        NEW,
        CODA,
        DUAL,
        reported="said of the method; numbers not found",
    ),
    Claim(
        "C3b",
        "It is not less forgetting: both forget alike.",
        FELL,
        CODA,
        DUAL,
        margin=1.0,
        kind="equivalence",
        reported="1.64 for CODA-Prompt; the margin is our choice",
    ),
    *(
        Claim(
            f"C4{letter}",
            f"The full method ends above the one with {name}.",
            AVERAGE,
            CODA,
            name,
            reported=_MORE,
        )
        for letter, name in zip("abcd", ABLATIONS, strict=True)
    ),
    Claim(
        "C5a",
        "CODA-Prompt gains from more components.",
        AVERAGE,
        sized(CODA, 60),
        sized(CODA, 5),
        reported="rises with the number of components (figure)",
    ),
    *(
        Claim(
            f"C5{letter}",
            f"A {name} of as many weights does not: it ends within a point of itself"
            " when small.",
            AVERAGE,
            sized(name, 60),
            sized(name, 5),
            margin=1.0,
            kind="equivalence",
            reported="saturates (figure); the margin is our choice",
        )
        for letter, name in (("b", L2PP), ("c", DUAL))
    ),
    *(
        Claim(
            f"C6{letter}",
            "Where styles change with the tasks as well, CODA-Prompt still ends above"
            f" {name}.",
            AVERAGE,
            shifted(CODA),
            shifted(name),
            reported="up to 4.4 points on a dual-shift benchmark",
        )
        for letter, name in (("a", DUAL), ("b", L2PP))
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C2", "C3a", "C4a", "C5a", "C6a")

_MAIN = (CODA, DUAL, L2PP, DEEP, ONE, HEAD, MEAN, FTPP, FT)

_FULL = Settings(
    methods=(
        *_MAIN,
        *ABLATIONS,
        PENALTY,
        JOINT,
        JOINT_CODA,
        JOINT_ONE,
        JOINT_HEAD,
    ),
    lengths=(20,),
    capacity=(5, 60),
    shifted=(CODA, DUAL, L2PP, HEAD, MEAN),
)

PAPER = Paper(
    slug="continual/coda_prompt",
    title=(
        "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free"
        " Continual Learning"
    ),
    arxiv="2211.13218",
    year=2023,
    bibkey="smith2023coda",
    claims=CLAIMS,
    also=ALSO,
    profiles={
        "probe": replace(
            _FULL,
            tasks=5,
            ways=4,
            train=4,
            test=3,
            steps=20,
            batch=4,
        ),
        "quick": Settings(steps=300, methods=(CODA, DUAL, L2PP, HEAD, MEAN)),
        "full": _FULL,
    },
    run=run,
)
