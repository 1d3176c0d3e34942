"""The claims about what a language model's states must know, may forget and come to
look like, and the experiment that judges them.

What differs from the paper: there is no experiment to differ from. It proves and
measures nothing; world, networks, objectives and margins are ours. What holds by
construction (prop. 4.2, th. 5.1, the chain rule, the rank bound) is a test of the code,
not a claim.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from stages.evidence import Claim, Outcome, Paper, in_setting
from stages.papers.mechanisms.markov_categories import (
    drafts,
    geometry,
    scores,
    training,
)
from stages.papers.mechanisms.markov_categories.also import (
    ALSO,
    BELOW_RANK,
    BY_KERNEL,
    ENERGY_8,
    GATES,
    OVERLAP_4,
)
from stages.papers.mechanisms.markov_categories.geometry import BOTTOM, TOP
from stages.papers.mechanisms.markov_categories.lab import (
    LINEAR,
    LOG_RATIO,
    Lab,
    free_states,
)
from stages.papers.mechanisms.markov_categories.scores import DIVERGENCE, Seen, at
from stages.papers.mechanisms.markov_categories.training import (
    METHODS,
    NLL,
    SHUFFLED,
    SMOOTHED,
    SQUARED,
    UNIT,
    UNTRAINED,
    Network,
    Recipe,
)
from stages.worlds.process import draw

FREE = "free states"
FREE_UNIT = "free states, theorem's assumptions"
WHOLE = 1.0  # memory: the source as it is drawn
STARTS = (geometry.TOP_UNTRAINED, geometry.BOTTOM_UNTRAINED)

# --------------------------------------------------------------------------- the claims

SPECTRAL = "th. 7.6 (v2), weakened in v5; no number"

CLAIMS = (
    Claim(
        "C1",
        "Next-token training turns the states' subspace to the leading eigenspace of"
        " predictive similarity.",
        OVERLAP_4,
        NLL,
        UNTRAINED,
        margin=0.1,
        reported=SPECTRAL,
    ),
    Claim(
        "C2",
        "Of the operators, the paper's inner product <p, p'> fits better than the"
        " log-ratios' one.",
        BY_KERNEL,
        LINEAR,
        LOG_RATIO,
        everywhere=BELOW_RANK,
        reported=SPECTRAL,
    ),
    Claim(
        "C3",
        "The error of the model's mean entropy falls as its KL to the truth does.",
        in_setting(scores.TOGETHER, at(16)),
        NLL,
        margin=0.5,
        reported="th. 5.2: it converges; no number",
    ),
    Claim(
        "C4",
        "Among sources, the surplus in the final state rank-orders what a draft head on"
        " it gets accepted.",
        drafts.ORDERED,
        drafts.BOTTLENECK,
        reported="sec. 4: surplus is the resource of drafts; no number",
    ),
    Claim(
        "C5",
        "The pullback metric tells how far predictions move, over whole differences"
        " between states.",
        in_setting(geometry.AGREES, at(16)),
        geometry.REAL,
        margin=0.5,
        reported="sec. 6, 7: it separates contexts; no number",
    ),
    Claim(
        "C6",
        "Along the metric's top directions states vary with predictive similarity more"
        " than along its bottom ones.",
        ENERGY_8,
        TOP,
        BOTTOM,
        lower_is_better=True,
        reported="prop. 7.4: small along sensitive directions; no number",
    ),
)
# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        widths: by method, the widths d of the bottleneck at which it is trained.
        free: the widths at which states without an encoder are found.
        memories: of the sources among which the surplus varies; 1 is the whole one.
        pasts: how many random pasts a context is read after. Readouts are fitted on the
            first half of them, and trainings watched.
        world: what `process.draw` is given beside seed and memory.
    """

    recipe: Recipe = field(default_factory=Recipe)
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    free: tuple[int, ...] = ()
    memories: tuple[float, ...] = ()
    pasts: int = 4
    world: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One training: a method, the width of its bottleneck, the memory of its source."""

    method: str
    d: int
    memory: float = WHOLE

    def reads(self, settings: "Settings") -> bool:
        """Tell whether surplus and drafts are read from it, source by source."""
        return self.method == NLL and self.d == max(settings.widths[NLL])


def arms(settings: Settings) -> Iterator[Arm]:
    """Yield all trainings of a seed. Sources of less memory are learnt by NLL alone, at
    its widest.
    """
    for name, widths in settings.widths.items():
        for d in widths:
            yield Arm(name, d)
    for memory in settings.memories:
        if memory != WHOLE:
            yield Arm(NLL, max(settings.widths[NLL]), memory)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Train all arms of a seed, each from the same encoder and on the same tokens as
    the others on its source; score their states, predictions, heads and drafts.
    """
    outcome = Outcome()
    labs = {m: make_lab(settings, seed, m) for m in {WHOLE, *settings.memories}}
    lab = labs[WHOLE]
    outcome.exhibits["lab"] = lab
    scores.score_source(outcome, lab, settings.widths[NLL])
    for name, white in ((FREE, False), (FREE_UNIT, True)):
        for d in settings.free:
            h, p = free_states(lab.law, lab.mu, d, white)
            scores.score_states(outcome, lab, name, d, h)
            apart = lab.divergence(p[None])
            outcome.score(name, in_setting(DIVERGENCE, at(d)), apart)
    lessons = {m: settings.recipe.lessons(labs[m].world, seed) for m in labs}
    found = {}
    for arm in arms(settings):
        here = labs[arm.memory]
        network, seen = trained(arm, here, lessons[arm.memory], settings, seed)
        if arm.memory == WHOLE:
            outcome.exhibits[arm.method, arm.d] = seen
            score(outcome, lab, arm, network, seen, settings, seed)
        if arm.memory in settings.memories and arm.reads(settings):
            found[arm.memory] = drafts.readings(here, network)
    if found:
        drafts.score_sources(outcome, dict(sorted(found.items())))
    return outcome


def make_lab(settings: Settings, seed: int, memory: float = WHOLE) -> Lab:
    """Draw the source of a seed; those of other memory are alike but for that."""
    world = draw(seed, **settings.world, memory=memory)
    return Lab(world, settings.pasts, settings.recipe.length, seed)


def trained(
    arm: Arm, lab: Lab, lessons: Tensor, settings: Settings, seed: int
) -> tuple[Network, dict[int, Seen]]:
    """Train an arm's network; return it, and how it was at checkpoints."""
    seen = {}

    def watch(step: int, network: Network) -> None:
        seen[step] = Seen.of(lab, network, max(1, settings.pasts // 2))

    how = METHODS[arm.method], arm.d, lessons, lab.world.tokens
    return training.learn(*how, settings.recipe, seed, watch), seen


def score(
    outcome: Outcome,
    lab: Lab,
    arm: Arm,
    network: Network,
    seen: Mapping[int, Seen],
    settings: Settings,
    seed: int,
) -> None:
    """Score a trained network and, for plain next-token training, its start."""
    method = METHODS[arm.method]
    d = arm.d
    scores.score_network(outcome, lab, arm.method, d, network, method.laws)
    scores.score_course(outcome, lab, arm.method, d, seen, method.laws)
    if arm.method != NLL:
        return
    start = training.make(method, d, lab.world.tokens, settings.recipe, seed)
    scores.score_network(outcome, lab, UNTRAINED, d, start)
    geometry.score_geometry(outcome, lab, NLL, d, network, (TOP, BOTTOM))
    geometry.score_geometry(outcome, lab, UNTRAINED, d, start, STARTS)
    geometry.score_moves(outcome, lab, d, network, seed)
    drafts.score_surplus(outcome, lab, d, network, seed)


FULL = Settings(
    widths={
        NLL: (2, 4, 8, 16),
        SHUFFLED: (4,),
        UNIT: (4,),
        SQUARED: (4,),
        SMOOTHED: (16,),
    },
    free=(2, 4, 8),
    memories=tuple(i / 7 for i in range(8)),
)

PAPER = Paper(
    slug="mechanisms/markov_categories",
    title="A Markov Categorical Framework for Language Modeling",
    arxiv="2507.19247",
    year=2025,
    bibkey="zhang2025markov",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "An earlier version, with more arms, was recorded on the same ten seeds: C1 was"
        " 0.72 [0.65, 0.78]. Its record was known when arms were reduced to eight and"
        " the gates were set. C1, C2, C3, C4 and C6 are as they were.",
        "C5 was about short moves, for which it holds by Taylor's theorem. That is a"
        " gate now. C5 is the comparison that stood beside it, with the same margin;"
        " there it was 0.50 [0.45, 0.55].",
        "Before the earlier claims were measured, a short move had become a fiftieth of"
        " the distance between states, instead of a twentieth. On tuning seeds, one"
        " block and 1,000 steps had replaced two blocks and 700, and the squared error"
        " had been given a fifth of the outputs. First results there had led to two"
        " controls: free states under the theorem's assumptions, and the gain over a"
        " blind draft.",
    ),
    profiles={
        "probe": replace(
            FULL,
            recipe=Recipe(steps=6, batch=8, length=4, watched=4),
            free=(2,),
            memories=(0.0, 0.5, 1.0),
            pasts=2,
            world={"tokens": 8, "classes": (2, 4)},
        ),
        "quick": replace(
            FULL,
            recipe=Recipe(steps=400, watched=10),
            widths={NLL: (4,)},
            free=(),
            memories=(),
        ),
        "full": FULL,
    },
    run=run,
)
