"""Summaries of patches, one lane a task: MULTI-LANE for multi-label class-incremental
learning.

De Min, Mancini, Lathuilière, Roy & Ricci, "Less is more: Summarizing Patch Tokens for
efficient Multi-Label Class-Incremental Learning", CoLLAs 2024, arXiv 2405.15633. A
picture with several labels shows objects of several tasks, so a method that picks one
task's prompt for it has no right choice. Here every task has a lane of its own through
the frozen transformer, and all lanes run; what keeps that cheap is that a lane reads a
few learned summaries.

What differs from the paper: a small transformer on Shapes-ML instead of ViT-B/16 on
COCO and VOC; keys of the query-key variant minimise their loss exactly instead of by
descent; and a lane computes the class token alone, for with drop and replace nothing
else is ever used. The released code is under a non-commercial licence; none of it is
here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import Claim, Outcome, Paper, divide, in_setting
from stages.models import Prefix, ViT
from stages.papers.continual.common import metrics, prompts
from stages.papers.continual.common.arms import CODA, HEAD, ONE, RATES, make_learner
from stages.papers.continual.common.loop import Budget, Encoded, Learner, learn_stream
from stages.papers.continual.common.multilabel import (
    AXES,
    F1_BEST,
    F1_CODE,
    LAST,
    MAP,
    STRATUM,
    Features,
    FineTunedML,
    Frozen,
    Isolated,
    MultiLabelStream,
    Objective,
    Pooled,
    PromptedML,
    best_keys,
    freeze,
    judge,
    mean_average_precision,
    merge,
    present,
    shapes_ml,
)
from stages.papers.continual.common.streams import shapes_r
from stages.seeding import rng, torch_rng
from stages.training import pick_device

Prefixes = Mapping[int, Prefix]

# --------------------------------------------------------------------------- the method


def evolve(
    vit: ViT, selectors: Float[Tensor, "s width"]
) -> Float[Tensor, "blocks s width"]:
    """Return s̃, the selectors as each block reads with them: s ← s + s̃, then the
    block's perceptron.

    With drop and replace no picture has any part in this, so that a trained lane's are
    computed once for all.
    """
    found = []
    for block in vit.blocks:
        found.append(block.norm1(selectors))
        selectors = selectors + found[-1]
        selectors = selectors + block.mlp(block.norm2(selectors))
    return torch.stack(found)


def summarise(
    selectors: Float[Tensor, "blocks s width"],
    tokens: Float[Tensor, "blocks n tokens width"],
) -> tuple[Float[Tensor, "blocks n s width"], Float[Tensor, "blocks n s tokens"]]:
    """Return Z = softmax(s̃ X̃ᵀ / √D) X̃ in every block, and the weights: one head as
    wide as the token, no projection.
    """
    weights = (
        torch.einsum("lsd,lntd->lnst", selectors, tokens) / tokens.shape[-1] ** 0.5
    ).softmax(-1)
    return weights @ tokens, weights


def drop_and_replace(
    vit: ViT, summaries: Float[Tensor, "blocks n s width"], prefixes: Prefixes
) -> Features:
    """Carry the class token alone through the frozen blocks, each of which shows it new
    summaries; return u.

    Its attention is over [c̃; Z] and the lane's prefix. What a block would make of Z is
    dropped, so is not computed.
    """
    c = (vit.class_token + vit.positions[0]).expand(summaries.shape[1], 1, -1)
    for i, (block, z) in enumerate(zip(vit.blocks, summaries, strict=True)):
        c = c + block.attention(
            torch.cat([block.norm1(c), z], 1), prefixes.get(i), queries=1
        )
        c = c + block.mlp(block.norm2(c))
    return vit.norm(c[:, 0])


def carry(
    vit: ViT, summaries: Float[Tensor, "n s width"], prefixes: Prefixes
) -> Features:
    """Summarise in block 0 only, and carry the summaries on as ordinary tokens: drop
    and replace switched off.
    """
    first, c = (
        vit.blocks[0],
        (vit.class_token + vit.positions[0]).expand(len(summaries), 1, -1),
    )
    x = torch.cat([c, summaries], 1) + first.attention(
        torch.cat([first.norm1(c), summaries], 1), prefixes.get(0)
    )
    x = x + first.mlp(first.norm2(x))
    return vit.features_from(x, 1, {i: prefix for i, prefix in prefixes.items() if i})


@dataclass(frozen=True)
class Lane:
    """How a lane is built.

    Attributes:
        summaries, prompts, prompted: S, P, and the number of first blocks that have
            prompts.
        tokens: what the class token reads: "selected" summaries, "merged" tokens, "all"
            frozen tokens of the block; or "carried": no reading, every lane takes all
            its tokens through the blocks.
        again: drop and replace; False summarises in block 0 only.
        normalise: scale u to length 1 before the head.
    """

    summaries: int = 8
    prompts: int = 4
    prompted: int = 2
    tokens: Literal["selected", "merged", "all", "carried"] = "selected"
    again: bool = True
    normalise: bool = True


class Lanes(Isolated):
    """MULTI-LANE: selectors and prompts for each task, copied from the task before when
    it begins.
    """

    def __init__(
        self,
        vit: ViT,
        sizes: Sequence[int],
        seen: Frozen,
        tested: Frozen,
        objective: Objective,
        seed: int,
        lane: Lane = Lane(),
    ):
        super().__init__(vit, sizes, seen, tested, objective, seed)
        width, self.lane, chance = (
            self.head.weight.shape[1],
            lane,
            torch_rng(seed, "lanes"),
        )
        shapes = ((lane.summaries, width), (lane.prompted, 2, lane.prompts, width))
        # Orthogonal over the stack of lanes: all that a lane has of a kind is one
        # vector of length 1.
        first = [
            F.normalize(torch.randn(shape, generator=chance).flatten(), dim=0).view(
                shape
            )
            for shape in shapes
        ]
        made = [
            nn.ParameterList(nn.Parameter(f.to(self.scores).clone()) for _ in sizes)
            for f in first
        ]
        self.selectors, self.prompts = (
            made if lane.tokens == "selected" else (None, made[1])
        )
        if lane.tokens == "merged":
            self.frozen = (
                vit,
                *(
                    replace(f, normed=merge(vit, f.normed, lane.summaries))
                    for f in (seen, tested)
                ),
            )

    @torch.no_grad()
    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Begin a lane with what the one before has learnt."""
        kinds = [kind for kind in (self.selectors, self.prompts) if kind is not None]
        for kind in kinds if task else ():
            kind[task].copy_(kind[task - 1])
        return [*(kind[task] for kind in kinds), *self.head.parameters()]

    def features(self, seen: Frozen, task: int) -> Features:
        """Return û, or u, at the end of a lane."""
        vit, lane, n = self.frozen[0], self.lane, len(seen.entering)
        prefixes = {
            i: tuple(p.expand(n, -1, -1) for p in pair)
            for i, pair in enumerate(self.prompts[task])
        }
        if lane.tokens == "carried":
            u = vit.features_from(seen.entering, 0, prefixes)
        else:
            z = seen.normed
            if lane.tokens == "selected":
                s = evolve(vit, self.selectors[task])
                z = summarise(s, z)[0] if lane.again else summarise(s[:1], z[:1])[0]
            u = (
                drop_and_replace(vit, z, prefixes)
                if lane.again
                else carry(vit, z[0], prefixes)
            )
        return F.normalize(u, dim=-1) if lane.normalise else u

    @torch.no_grad()
    def all_features(self) -> Float[Tensor, "tasks test width"]:
        """Return where every lane ends for every test picture."""
        ends = (
            [self.features(p, t) for p in self.frozen[2].parts()]
            for t in range(len(self.rows))
        )
        return torch.stack([torch.cat(end) for end in ends])


@torch.no_grad()
def selected(
    lanes: Lanes, chosen: Int[Tensor, "phases test"], own_rows: bool = False
) -> Float[Tensor, "phases test classes"]:
    """Score with one lane a picture, the query-key variant: parallel pathways off.

    The chosen lane's feature is read by all rows of the head, as in DualPrompt. With
    `own_rows` only by those that were trained on this lane; all others get the logit
    -30.
    """
    ends, pictures = (
        lanes.all_features(),
        torch.arange(chosen.shape[1], device=chosen.device),
    )
    logits = torch.stack([lanes.head(ends[choice, pictures]) for choice in chosen])
    if own_rows:
        owner = torch.cat(
            [torch.full((own.stop - own.start,), t) for t, own in enumerate(lanes.rows)]
        )
        logits = logits.masked_fill(owner.to(chosen.device) != chosen[..., None], -30.0)
    return logits


# ----------------------------------------------------------------------------- the arms

OURS, QUERY_KEY, OWN_ROWS, TOLD = (
    "MULTI-LANE",
    "query-key lanes",
    "query-key, own rows",
    "query-key, told a task",
)
L2P_, DUAL_, SHARED, FINE, JOINT = (
    "L2P++",
    "DualPrompt",
    "one shared prompt",
    "fine-tuning",
    "joint",
)
HEADS, POOLING = "frozen CLS heads", "attention pooling"
NO_REPLACE, NO_NORM = "no drop and replace", "no normalisation"
MERGED, READ_ALL, CARRIED = (
    "merged tokens (ToMe)",
    "all tokens read",
    "full-token lanes",
)


def count(summaries: int) -> str:
    """Name MULTI-LANE with another number of summaries."""
    return OURS if summaries == Lane.summaries else f"MULTI-LANE, S = {summaries}"


LANES = {count(s): Lane(summaries=s) for s in (1, 2, 4, 8, 16)} | {
    NO_REPLACE: Lane(again=False),
    NO_NORM: Lane(normalise=False),
    MERGED: Lane(tokens="merged"),
    READ_ALL: Lane(tokens="all"),
    CARRIED: Lane(tokens="carried"),
}
PROMPTS: dict[str, Callable[[int, int, int], nn.Module]] = {  # of tasks, width and seed
    L2P_: lambda tasks, width, seed: prompts.L2P(20, 8, 3, (1,), width, 0.2, seed),
    DUAL_: lambda tasks, width, seed: prompts.DualPrompt(
        tasks, 4, 8, (1,), (2, 3), width, 0.2, seed
    ),
    SHARED: lambda tasks, width, seed: prompts.OnePrompt(
        {1: 8, 2: 8}, width, 0.2, seed
    ),
}


def learner(
    name: str,
    vit: ViT,
    stream: MultiLabelStream,
    seen: Frozen,
    tested: Frozen,
    seed: int,
) -> Learner:
    """Make an arm of the multi-label experiment."""
    given = vit, stream.sizes, seen, tested, stream.loss, seed
    if name in LANES:
        return Lanes(*given, LANES[name])
    if name in (HEADS, POOLING):
        return Isolated(*given) if name == HEADS else Pooled(*given)
    if name in (FINE, JOINT):
        return FineTunedML(vit, stream, seed)
    encoded = Encoded(
        seen.second, seen.leaving[:, 0], tested.second, tested.leaving[:, 0], first=1
    )
    return PromptedML(
        vit, PROMPTS[name](len(stream), seen.second.shape[-1], seed), stream, encoded
    )


# ----------------------------------------------------------------------------- its cost


def predictors(
    vit: ViT, sizes: Sequence[int], seed: int = 0
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return functions from pictures to logits, of untrained arms that know all tasks:
    what an answer takes.

    Each does only what its answer needs. MULTI-LANE stops the frozen stream before the
    last block, whose outputs no lane reads; picked prompts share block 0 with the pass
    that makes the query.
    """
    none = freeze(vit, torch.zeros(1, 3, 32, 32, device=vit.positions.device))
    stream = MultiLabelStream(
        *[none.leaving] * 5, tuple(sizes), tuple(map(str, range(sum(sizes))))
    )
    names = (OURS, CARRIED, L2P_, DUAL_, HEADS)
    arms = {
        name: learner(name, vit, stream, none, none, seed).requires_grad_(False)
        for name in names
    }

    def lanes(images: Tensor) -> Tensor:
        stages = [vit.embed(images)]
        for block in vit.blocks[:-1]:
            stages.append(block(stages[-1]))
        normed = torch.stack(
            [block.norm1(x) for block, x in zip(vit.blocks, stages, strict=True)]
        )
        seen = Frozen(stages[0], stages[1], normed, stages[-1])
        return torch.cat([arms[OURS].own_logits(seen, t) for t in range(len(sizes))], 1)

    def carried(images: Tensor) -> Tensor:
        seen = Frozen(*[vit.embed(images)] * 4)
        return torch.cat(
            [arms[CARRIED].own_logits(seen, t) for t in range(len(sizes))], 1
        )

    def picked(name: str, images: Tensor) -> Tensor:
        tokens = vit.blocks[0](vit.embed(images))
        return (
            arms[name]
            .eval()
            .head(arms[name].features(tokens, vit.features_from(tokens, 1))[0])
        )

    picking = {name: partial(picked, name) for name in (L2P_, DUAL_)}
    return {
        OURS: lanes,
        CARRIED: carried,
        HEADS: lambda images: arms[HEADS].head(vit.features(images)),
    } | picking


# ----------------------------------------------------------------------- the experiment

BUDGET, CIL_BUDGET, CIL_LANE = (
    Budget(200, 16),
    Budget(200, 32),
    Lane(summaries=4, prompted=4),
)
RIGHT, ACCURACY = "lane of a present task", "accuracy on Shapes-R"
TRAINED, PICTURES = "trained weights", "pictures in updates"


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        sizes: classes of each task.
        train, test: pictures a task, and to test on.
        budget: updates a task, pictures an update, for every arm.
        rates: the arms, with their tuned learning rates.
        others: further streams by name, as (sizes, styles), for the arms `everywhere`.
        cil, cil_budget: arms and budget with one label a picture, on Shapes-R.
        cil_tasks, cil_ways, cil_train: its tasks, classes in each, and pictures of each
            class.
    """

    sizes: tuple[int, ...] = (4,) * 5
    train: int = 500
    test: int = 600
    budget: Budget = BUDGET
    rates: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = field(
        default_factory=dict
    )
    everywhere: tuple[str, ...] = (OURS, HEADS)
    cil: Mapping[str, float] = field(default_factory=dict)
    cil_budget: Budget = CIL_BUDGET
    cil_tasks: int = 5
    cil_ways: int = 8
    cil_train: int = 200


def query_key(
    outcome: Outcome, lanes: Lanes, stream: MultiLabelStream, seed: int
) -> None:
    """Score the trained lanes with one lane a picture: chosen by keys, or told by the
    answers.
    """
    _, seen, tested = lanes.frozen
    alike = (
        F.normalize(tested.leaving[:, 0], dim=-1)
        @ best_keys(seen.leaving[:, 0], stream.owner, len(stream)).T
    )
    chosen = torch.stack([alike[:, : n + 1].argmax(1) for n in range(len(stream))])
    there, chance = (
        stream.tasks_in(stream.test_answers),
        torch.from_numpy(rng(seed, "told").random(alike.shape)),
    )
    known = torch.stack(
        [
            (there * (chance.to(there.device) + 1))[:, : n + 1].argmax(1)
            for n in range(len(stream))
        ]
    )
    judge(outcome, QUERY_KEY, selected(lanes, chosen), stream)
    judge(outcome, OWN_ROWS, selected(lanes, chosen, own_rows=True), stream)
    judge(outcome, TOLD, selected(lanes, known), stream)
    outcome.score(QUERY_KEY, RIGHT, 100 * there.gather(1, chosen[-1:].T).float().mean())


def multi_label(outcome: Outcome, settings: Settings, seed: int) -> None:
    """Run all arms on Shapes-ML, and some on its other forms."""
    vit = zoo.load("vit_p4").to(pick_device())
    forms = {"": (settings.sizes, ("photo",))} | dict(settings.others)
    for form, (sizes, styles) in forms.items():
        stream = shapes_ml(
            sizes, seed, train=settings.train, test=settings.test, styles=styles
        )
        seen, tested = freeze(vit, stream.images), freeze(vit, stream.test_images)
        for name in settings.everywhere if form else settings.rates:
            tasks, budget = (
                (stream.joint() if name == JOINT else stream),
                settings.budget,
            )
            budget = replace(budget, steps=budget.steps * len(stream) // len(tasks))
            arm = learner(name, vit, tasks, seen, tested, seed)
            logits = learn_stream(arm, tasks, budget, settings.rates[name], seed)
            if form:
                outcome.score(
                    name,
                    in_setting(LAST, form),
                    mean_average_precision(logits[-1], stream.test_answers),
                )
                continue
            judge(outcome, name, logits, stream)
            trained = arm.vit if isinstance(arm, FineTunedML) else arm
            outcome.score(name, TRAINED, sum(p.numel() for p in trained.parameters()))
            outcome.score(name, PICTURES, budget.steps * budget.batch * len(tasks))
            if name == OURS:
                query_key(outcome, arm, stream, seed)


def single_label(
    outcome: Outcome, settings: Settings, seed: int, lane: Lane = CIL_LANE
) -> None:
    """Run MULTI-LANE, prompts and the head alone on Shapes-R, one label a picture."""
    vit = zoo.load("vit_p8").to(pick_device())
    stream = shapes_r(
        settings.cil_tasks, settings.cil_ways, seed, train=settings.cil_train
    )
    seen, tested = freeze(vit, stream.images), freeze(vit, stream.test_images)
    encoded = Encoded(
        seen.second, seen.leaving[:, 0], tested.second, tested.leaving[:, 0], first=1
    )

    def named(logits: Tensor, rows: Tensor, task: int) -> Tensor:
        return F.cross_entropy(logits, stream.labels[rows] - stream.own(task).start)

    for name, rate in settings.cil.items():
        if name == OURS:
            arm = Lanes(
                vit, (stream.ways,) * len(stream), seen, tested, named, seed, lane
            )
        else:
            arm = make_learner(name, vit, stream, encoded, seed)
        logits = learn_stream(arm, stream, settings.cil_budget, rate, seed)
        accuracy = metrics.accuracy_matrix(logits, stream.test_labels, stream.ways)
        outcome.score(name, ACCURACY, metrics.final_average(accuracy))


def run(settings: Settings, seed: int) -> Outcome:
    """Run the stream of several labels with all arms, its other forms, and the stream
    with one label.
    """
    multi_label(outcome := Outcome(), settings, seed)
    if settings.cil:
        single_label(outcome, settings, seed)
    return outcome


def tune(settings: Settings, seed: int) -> dict[str, dict[float, float]]:
    """Return mAP after the last task for three learning rates an arm; run it with seeds
    from 1000 up.
    """
    found: dict[str, dict[float, float]] = {name: {} for name in settings.rates}
    for i in range(3):
        rates = {name: GRIDS.get(name, GRID)[i] for name in found}
        for row in run(replace(settings, rates=rates, others={}, cil={}), seed).scores:
            if row["metric"] == LAST and row["method"] in found:
                found[row["method"]][rates[row["method"]]] = row["value"]
    return found


def tune_single(settings: Settings, seed: int) -> dict[tuple[float, int], float]:
    """Return MULTI-LANE's accuracy after the first two tasks of Shapes-R for six pairs
    (rate, blocks with prompts).
    """
    short, found = replace(settings, cil_tasks=2), {}
    for rate, blocks in product((0.01, 0.03, 0.1), (2, 4)):
        lane = replace(CIL_LANE, prompted=blocks)
        single_label(outcome := Outcome(), replace(short, cil={OURS: rate}), seed, lane)
        found[rate, blocks] = outcome.scores[0]["value"]
    return found


GRID, PROMPT_GRID, ALL_GRID = (0.03, 0.1, 0.3), (0.01, 0.03, 0.1), (3e-4, 1e-3, 3e-3)
GRIDS = dict.fromkeys((L2P_, DUAL_, SHARED), PROMPT_GRID) | dict.fromkeys(
    (FINE, JOINT), ALL_GRID
)
_NUMBERS = "numbers not found; the margin is our choice"
_COMPARISONS = (
    *(
        Claim(
            key,
            f"MULTI-LANE beats {what}, in mAP after the last task and averaged over"
            " tasks.",
            MAP,
            OURS,
            worse,
            everywhere=("last", "average"),
            reported=reported,
        )
        for key, worse, what, reported in (
            (
                "C1",
                L2P_,
                (
                    "prompts picked from a pool, L2P++ with the same frozen transformer"
                    " and masked loss"
                ),
                (
                    "state of the art on COCO and VOC without rehearsal (abstract);"
                    " numbers not found"
                ),
            ),
            ("C1b", DUAL_, "prompts picked by task, DualPrompt with the same", "as C1"),
            (
                "C1c",
                QUERY_KEY,
                "its own lanes when keys pick one of them",
                "parallel pathways help; numbers not found",
            ),
            (
                "C1d",
                HEADS,
                "linear heads on the frozen class token",
                "not found; the control is ours",
            ),
            (
                "C1e",
                POOLING,
                "attention pooling over the frozen tokens",
                "not found; the control is ours",
            ),
        )
    ),
    Claim(
        "C2a",
        "The lead over query-key lanes is larger on pictures with three or more tasks"
        " than on those with one.",
        STRATUM,
        present(OURS, 3),
        present(QUERY_KEY, 3),
        over=(present(OURS, 1), present(QUERY_KEY, 1)),
        reported="the reason given for parallel lanes; not measured, as far as we know",
    ),
    Claim(
        "C2b",
        "So is the lead over query-key lanes that answer for their own classes only.",
        STRATUM,
        present(OURS, 3),
        present(OWN_ROWS, 3),
        over=(present(OURS, 1), present(OWN_ROWS, 1)),
        reported="as C2a; half of it by construction",
    ),
    Claim(
        "C2c",
        "Where one task is present, picking one lane costs nothing.",
        STRATUM,
        present(OURS, 1),
        present(QUERY_KEY, 1),
        margin=2.0,
        kind="equivalence",
        reported=f"not found; {_NUMBERS}",
    ),
    Claim(
        "C3a",
        "Eight summaries do as well as lanes that carry all 65 tokens.",
        LAST,
        OURS,
        CARRIED,
        margin=1.0,
        kind="equivalence",
        reported=f"less is more (title); {_NUMBERS}",
    ),
    Claim(
        "C3b",
        "Eight summaries do as well as reading all tokens of a block.",
        LAST,
        OURS,
        READ_ALL,
        margin=1.0,
        kind="equivalence",
        reported=f"less is more (title); {_NUMBERS}",
    ),
    Claim(
        "C3c",
        "Learned selectors are at least as good as merging tokens down to eight.",
        LAST,
        OURS,
        MERGED,
        margin=1.0,
        kind="noninferiority",
        reported=f"an ablation; {_NUMBERS}",
    ),
    Claim(
        "C4",
        "Reading anew in every block beats carrying the summaries on.",
        LAST,
        OURS,
        NO_REPLACE,
        reported="an ablation; numbers not found",
    ),
    Claim(
        "C5a",
        "Features of length 1 before the head raise mAP.",
        LAST,
        OURS,
        NO_NORM,
        reported="an ablation; numbers not found",
    ),
    Claim(
        "C5b",
        "They raise OF1 and CF1 at the threshold 0.8 of the released code.",
        F1_CODE,
        OURS,
        NO_NORM,
        everywhere=AXES,
        reported="an ablation; numbers not found",
    ),
    Claim(
        "C5c",
        "They raise OF1 and CF1 at the best single threshold.",
        F1_BEST,
        OURS,
        NO_NORM,
        everywhere=AXES,
        reported="an ablation; numbers not found",
    ),
    Claim(
        "C6a",
        "With one label a picture MULTI-LANE is level with CODA-Prompt.",
        ACCURACY,
        OURS,
        CODA,
        margin=2.0,
        kind="equivalence",
        reported=f"competitive (abstract); {_NUMBERS}",
    ),
    Claim(
        "C6b",
        "With one label a picture it is level with OnePrompt.",
        ACCURACY,
        OURS,
        ONE,
        margin=2.0,
        kind="equivalence",
        reported=f"not found; {_NUMBERS}",
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C2a", "C3a", "C4", "C5a", "C6a")

_RATES = {
    OURS: 0.3,
    L2P_: 0.03,
    DUAL_: 0.03,
    SHARED: 0.03,
    FINE: 3e-4,
    JOINT: 1e-3,
    HEADS: 0.1,
    POOLING: 0.1,
    NO_REPLACE: 0.1,
    NO_NORM: 0.1,
    MERGED: 0.3,
    READ_ALL: 0.1,
    CARRIED: 0.3,
    count(1): 0.3,
    count(2): 0.3,
    count(4): 0.3,
    count(16): 0.1,
}
_ONE_LABEL = {OURS: 0.03} | {name: RATES[name] for name in (CODA, ONE, HEAD)}
_OTHERS = {
    "eight classes first": ((8, 4, 4, 4), ("photo",)),
    "other styles": ((4,) * 5, ("flat", "neon", "noisy", "faint")),
}

PAPER = Paper(
    slug="continual/multi_lane",
    title=(
        "Less is more: Summarizing Patch Tokens for efficient Multi-Label"
        " Class-Incremental Learning"
    ),
    arxiv="2405.15633",
    year=2024,
    bibkey="demin2024less",
    claims=CLAIMS,
    also=ALSO,
    profiles={
        "probe": Settings(
            rates=_RATES,
            others={"two sizes": ((3, 1), ("flat",))},
            cil=_ONE_LABEL,
            sizes=(2, 2, 2),
            train=8,
            test=60,
            budget=Budget(2, 4),
            cil_budget=Budget(2, 4),
            cil_tasks=2,
            cil_ways=2,
            cil_train=8,
        ),
        "quick": Settings(
            budget=Budget(100, 16),
            rates={name: _RATES[name] for name in (OURS, HEADS, POOLING)},
        ),
        "full": Settings(rates=_RATES, others=_OTHERS, cil=_ONE_LABEL),
    },
    run=run,
)
