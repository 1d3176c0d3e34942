"""The claims about multilevel training, and the experiment that judges them."""

from dataclasses import replace

import numpy as np
import torch

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.scaling.multilevel.arms import (
    CONTROL,
    SCRATCH,
    STACKED,
    Settings,
    arms,
    cycle,
    plan,
)
from stages.papers.scaling.multilevel.method import sizes_of
from stages.papers.scaling.multilevel.training import (
    Account,
    Ending,
    Schedule,
    World,
    held_out_loss,
    training_flops,
)
from stages.training import effective_rank

LOSS = "held-out loss"
SAVED = "FLOPs saved (%)"
SAVED_EARLY = "FLOPs saved (%) at the loss of a 60 % run"
RANK = "effective rank"
GROWN = "loss after growth"
LAST_FIFTH = "loss gained by the last fifth"
SMALL = "loss of the smaller network"
GAP = "small network's loss above from scratch"

V_CYCLE, QUARTER, GROWTH = cycle(0.5), cycle(0.25), cycle(1)

# --------------------------------------------------------------------------- the claims


def less_loss(key: str, text: str, worse: str, reported: str, **how) -> Claim:
    """Claim that the V-cycle ends lower than another arm at equal FLOPs."""
    how = {"margin": 0.01, "better": V_CYCLE} | how
    return Claim(
        key,
        text,
        LOSS,
        worse=worse,
        lower_is_better=True,
        reported=reported,
        **how,
    )


CLAIMS = (
    Claim(
        "C1",
        "The V-cycle reaches the loss of training from scratch with fewer FLOPs.",
        SAVED,
        V_CYCLE,
        margin=5.0,
        reported="19.0 % (BERT-Base), 24.1 % (GPT-Base), 27.1 % (DeiT-B)",
    ),
    less_loss(
        "C2",
        "Interpolation beats growth alone, in which twin neurons stay twins.",
        GROWTH,
        "α = 0.5 or 0.25 is used; an ablation was not found",
    ),
    less_loss(
        "C3",
        "The small network has to come from the large one: one trained from scratch"
        " and grown in the same way ends higher.",
        CONTROL,
        "not compared",
        origin="ours",
    ),
    less_loss(
        "C4",
        "The V-cycle ends as low as stacking a network of half the depth.",
        STACKED,
        "27.1 against 23.8 % of FLOPs saved (DeiT-B)",
        kind="noninferiority",
    ),
)
ALSO = (
    less_loss("C1b", "The V-cycle ends lower at equal FLOPs.", SCRATCH, "not found"),
    Claim(
        "C1c",
        "With 60 % of the FLOPs as the measure, the V-cycle saves some of them.",
        SAVED_EARLY,
        V_CYCLE,
    ),
    less_loss("C2b", "α = 0.5 ends lower than 0.25.", QUARTER, "0.25 for GPT, DeiT"),
    Claim(
        "C2c",
        "The large network's parameters fill more dimensions than after growth alone.",
        RANK,
        V_CYCLE,
        GROWTH,
    ),
    Claim(
        "C2d",
        "Right after growth the order is the reverse: growth alone starts lower.",
        GROWN,
        GROWTH,
        V_CYCLE,
        lower_is_better=True,
    ),
    Claim(
        "C3b",
        "The coalesced network ends its stage lower than the one from scratch, which"
        " takes more updates for the same FLOPs.",
        SMALL,
        V_CYCLE,
        CONTROL,
        lower_is_better=True,
    ),
    less_loss(
        "C3c",
        "The small network from scratch, then grown, beats the large one from scratch.",
        SCRATCH,
        "not compared",
        better=CONTROL,
    ),
)
GATES = (
    Gate(
        "from scratch, the last fifth of the FLOPs still pays, in nats",
        SCRATCH,
        LAST_FIFTH,
        least=0.03,
    ),
    Gate(
        "the small network ends above the large one, in nats",
        CONTROL,
        GAP,
        least=0.05,
    ),
)

# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Train all arms on the same text within the same FLOPs; score each alike."""
    outcome = Outcome()
    large = settings.new(seed, **settings.large)
    schedule = plan(settings, training_flops(large))
    world = World.of(
        seed,
        tokens=settings.tokens,
        updates=2 * settings.updates,  # of small networks an arm takes more than these
        batch=settings.batch,
        length=settings.length,
        test=settings.test,
    )
    found = {}
    for name, arm in arms(settings).items():
        account = Account(world, schedule)
        network, small_loss = arm.start(settings, seed, account)
        if small_loss is not None:
            outcome.score(name, SMALL, small_loss)
            outcome.score(name, GROWN, held_out_loss(network, world.tests))
        found[name] = account.finish(network, arm.ends)
        describe(outcome, name, found[name], schedule)
    compare(outcome, found)
    return outcome


def describe(
    outcome: Outcome, name: str, endings: list[Ending], schedule: Schedule
) -> None:
    """Score an arm at 100 % of the FLOPs, and keep its curves: "small" while a network
    of less than the full width is trained, "large" otherwise.
    """
    end = at(endings, 1.0)
    outcome.exhibits[name] = end.network
    outcome.score(name, LOSS, end.loss)
    matrices = torch.stack([block.mlp[0].weight for block in end.network.blocks])
    outcome.score(name, RANK, effective_rank(matrices.detach()).mean())
    spectra = torch.linalg.svdvals(matrices.detach()).mean(0)
    outcome.curve(name, "spectrum", range(1, len(spectra) + 1), spectra.tolist())
    width = sizes_of(end.network)["width"]
    for stage, here in (("small", False), ("large", True)):
        points = [point for point in end.curve if (point[0] == width) == here]
        shares = [100 * spent / schedule.budget for _, spent, _ in points]
        outcome.curve(name, stage, shares, [loss for _, _, loss in points])
    budgets = [100 * ending.budget for ending in endings]
    outcome.curve(name, "endings", budgets, [ending.loss for ending in endings])


def compare(outcome: Outcome, found: dict[str, list[Ending]]) -> None:
    """Score what takes two endings, or two arms."""
    scratch = found[SCRATCH]
    target = at(scratch, 1.0).loss
    outcome.score(SCRATCH, LAST_FIFTH, at(scratch, 0.8).loss - target)
    endings = found[V_CYCLE]
    outcome.score(V_CYCLE, SAVED, saved(endings, at(scratch, 1.0)))
    outcome.score(V_CYCLE, SAVED_EARLY, saved(endings, at(scratch, 0.6)))
    small = {
        row["method"]: row["value"] for row in outcome.scores if row["metric"] == SMALL
    }
    outcome.score(CONTROL, GAP, small[CONTROL] - target)


def at(endings: list[Ending], budget: float) -> Ending:
    """Return the ending at a budget."""
    return next(ending for ending in endings if ending.budget == budget)


def saved(endings: list[Ending], rival: Ending) -> float:
    """Return by how much fewer FLOPs than a rival's an arm needs for the rival's loss,
    in per cent of the rival's.

    Between the arm's endings losses are interpolated. A loss that lies below all of
    them, or above, counts as that of the last ending, or of the first.
    """
    budgets = np.array([ending.budget for ending in endings])
    losses = np.minimum.accumulate([ending.loss for ending in endings])
    needed = np.interp(rival.loss, losses[::-1], budgets[::-1])
    return 100 * (1 - needed / rival.budget)


FULL = Settings()

PAPER = Paper(
    slug="scaling/multilevel",
    title="A Multi-Level Framework for Accelerating Training Transformer Models",
    arxiv="2404.07999",
    year=2024,
    bibkey="zou2024multilevel",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "The plan had 1,000 updates. On tuning seeds the small network's stage then"
        " ended before it had learnt what a topic is, and the V-cycle ended behind;"
        " 2,000 were taken, on tuning seeds, as the one redesign of the world.",
        "Before the claims were fixed, a prototype on another small language (two"
        " seeds, untuned) had shown the V-cycle saving 20 % of the FLOPs of training"
        " from scratch, and ahead of “small, then grown”.",
        "Of the plan, runs from scratch at 120 % of the FLOPs were left out, and wall"
        " time.",
        "C1c was added when tuning seeds had shown that the V-cycle is ahead in short"
        " runs; it has no verdict.",
    ),
    profiles={
        "probe": replace(
            FULL,
            width=8,
            heads=2,
            depth=2,
            length=8,
            batch=4,
            tokens=2000,
            test=20,
            updates=40,
            initial=2,
            small=20,
            stacked=8,
            watched=10,
            shown=10,
        ),
        "quick": replace(
            FULL,
            tokens=100_000,
            test=200,
            updates=60,
            initial=3,
            small=30,
            stacked=30,
            scratch_ends=(0.6, 0.8, 1.0),
            cycle_ends=(0.6, 0.8, 1.0, 1.1),
            alphas=(0.5, 1.0),
            watched=40,
        ),
        "full": FULL,
    },
    run=run,
)
