"""SIM-CoT: thoughts that are vectors, and a decoder that must be able to write out what
each of them stands for.

Wei, Liu, Zang, Dong, Cao, Wang, Qiu & Lin, "SIM-CoT: Supervised Implicit
Chain-of-Thought", ICLR 2026, arXiv 2509.20317. In place of written steps a model feeds
its last hidden state back to itself K times (Coconut, Hao et al. 2024) and then
answers. Only the answer is trained, so little ties a vector to a step. SIM-CoT adds a
second model, during training alone, that has to write step k from vector k; its
gradient goes through the vector into the model.

What differs from the paper: a transformer of width 64, trained here, on chains of sums
told in words, in place of GPT-2 and Llama on GSM8k-Aug. Arms part after the second of
Coconut's stages and not after the last, at which Coconut fails here, and from which
neither it nor SIM-CoT recovers. Those without a curriculum start from the model of
written steps. A thought is brought to the length of an embedding before it is fed back
(in the paper it is not, and in these models it would be ten times as long); CODI
projects it as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from stages import zoo
from stages.evidence import Claim, Outcome, Paper, divide, in_setting
from stages.papers.mechanisms.common.thoughts import (
    DISTANCE,
    RANK,
    gap,
    geometry,
    probe,
)
from stages.training import fit, optimiser, pick_device
from stages.worlds import chains
from stages.zoo.chain_thinkers import (
    COCONUT,
    COT,
    SHIPPED,
    SIM,
    STOP,
    TRAINING,
    Training,
    accuracy,
    batches,
    decoded,
    learn_first_thoughts,
    learn_on,
    learn_steps,
    make_thinker,
    train,
)
from stages.zoo.thoughts import Arm, Decoder, Problems, Thinker, step_loss

# --------------------------------------------------------------------------- the claims

_CONTROL = "not found; the control is ours"
_GEOMETRY = "mean distance 4.21 in a failed model, 32.81 with step supervision"

WALL, REPLAY = "Coconut, equal time", "Coconut, step-text replay"
SHUFFLED, FOREIGN = "SIM-CoT, steps shuffled", "SIM-CoT, another problem's steps"
BLIND, RUNS = "decoder given a zero vector", "all runs"
NO_COT, PAUSE, CODI, CODI_SIM = "no CoT", "pause tokens", "CODI", "CODI + SIM"
ACCURACY, OOD, TOKENS = "accuracy", "accuracy, out of distribution", "tokens generated"
SLOPE, WORST = "accuracy gained by doubling K", "accuracy at the worst K"
VALUE, OPERATOR, CORRELATION = (
    "value probe",
    "operator probe",
    "rank correlation of distance and accuracy",
)
DECODED, GAP = "decoded steps, exact match", "accuracy gap, step decoded right - wrong"

_COMPARISONS = (
    Claim(
        "C1",
        "With as many thoughts and further updates, step supervision makes Coconut more"
        " accurate.",
        ACCURACY,
        SIM,
        COCONUT,
        margin=1.0,
        reported="36.6 -> 44.8 % (GPT-2, GSM8k-Aug); equal updates not found",
    ),
    Claim(
        "C1b",
        "It does so too where Coconut gets as much time as SIM-CoT takes.",
        ACCURACY,
        SIM,
        WALL,
        margin=1.0,
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C1c",
        "It does so too where Coconut goes on reading written steps in a fifth of its"
        " examples.",
        ACCURACY,
        SIM,
        REPLAY,
        margin=1.0,
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C1d",
        "It does so out of distribution.",
        OOD,
        SIM,
        COCONUT,
        margin=1.0,
        reported="42.6 -> 46.9 %",
    ),
    Claim(
        "C1e",
        "It makes CODI more accurate.",
        ACCURACY,
        CODI_SIM,
        CODI,
        reported="+0.6 points (GPT-2)",
    ),
    Claim(
        "C2a",
        "The more thoughts, from 2 to 8, the less accurate is Coconut.",
        SLOPE,
        COCONUT,
        lower_is_better=True,
        reported="unstable at 5 thoughts, down to 12.5 %",
    ),
    Claim(
        "C2b",
        "SIM-CoT loses no more than a point each time the number of thoughts doubles.",
        SLOPE,
        SIM,
        margin=1.0,
        kind="noninferiority",
        reported="stable at 8 and 16 thoughts",
    ),
    Claim(
        "C2c",
        "At its worst number of thoughts SIM-CoT is more accurate than Coconut at its"
        " own.",
        WORST,
        SIM,
        COCONUT,
        margin=1.0,
        reported="12.5 % for Coconut; for SIM-CoT not found",
    ),
    Claim(
        "C3a",
        "Its thoughts about one problem lie further apart, by their own length.",
        DISTANCE,
        SIM,
        COCONUT,
        reported=_GEOMETRY,
    ),
    Claim("C3b", "They fill more dimensions.", RANK, SIM, COCONUT, reported=_GEOMETRY),
    Claim(
        "C3c",
        "A linear probe reads a step's operator from its thought more surely.",
        OPERATOR,
        SIM,
        COCONUT,
        margin=1.0,
        reported="failed thoughts decode to digits alone",
    ),
    Claim(
        "C3d",
        "Across runs, the further apart thoughts lie, the more accurate the model.",
        CORRELATION,
        RUNS,
        reported="not found",
    ),
    Claim(
        "C4a",
        "Gradients into the thoughts matter: a decoder that sends none gives less.",
        ACCURACY,
        SIM,
        STOP,
        margin=1.0,
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C4b",
        "Without them nothing is gained.",
        ACCURACY,
        STOP,
        COCONUT,
        margin=2.0,
        kind="equivalence",
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C4c",
        "Steps in a random order give no gain.",
        ACCURACY,
        COCONUT,
        SHUFFLED,
        margin=2.0,
        kind="noninferiority",
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C4d",
        "Steps of another problem give no gain.",
        ACCURACY,
        COCONUT,
        FOREIGN,
        margin=2.0,
        kind="noninferiority",
        reported=_CONTROL,
        origin="ours",
    ),
    Claim(
        "C5a",
        "SIM-CoT is as accurate as written steps.",
        ACCURACY,
        SIM,
        COT,
        margin=2.0,
        kind="noninferiority",
        reported="44.8 against 42.7 %",
    ),
    Claim(
        "C5b",
        "It generates fewer tokens, thoughts counted.",
        TOKENS,
        SIM,
        COT,
        lower_is_better=True,
        reported="2.3 times fewer",
    ),
    Claim(
        "C5c",
        "It beats pause tokens.",
        ACCURACY,
        SIM,
        PAUSE,
        margin=1.0,
        reported="not found",
    ),
    Claim(
        "C5d",
        "It beats answering at once.",
        ACCURACY,
        SIM,
        NO_COT,
        margin=1.0,
        reported="not found",
    ),
    Claim(
        "C6a",
        "The decoder writes step k from thought k, and not from its sense of what steps"
        " look like.",
        DECODED,
        SIM,
        BLIND,
        margin=10.0,
        reported="shown by examples; rates not found",
    ),
    Claim(
        "C6b",
        "Where a decoded step is wrong, the answer is wrong more often.",
        GAP,
        SIM,
        margin=5.0,
        reported="not found",
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C2a", "C3a", "C4a", "C5a", "C6a")

# ----------------------------------------------------------------------- the experiment

SHIFTS = ("one step fewer", "one step more", "new tellings", "one distractor")
ARMS = {
    NO_COT: Arm("none"),
    PAUSE: Arm("pauses"),
    COT: Arm("steps"),
    WALL: Arm(longer=True),
    REPLAY: Arm(replay=0.2),
    SHUFFLED: Arm(step=1.0, targets="shuffled"),
    FOREIGN: Arm(step=1.0, targets="foreign"),
    CODI: Arm(distil=True),
    CODI_SIM: Arm(distil=True, step=1.0),
} | SHIPPED


def with_thoughts(method: str, thoughts: int, headline: int) -> str:
    """Name a method with another number of thoughts than the headline's."""
    return method if thoughts == headline else f"{method}, K = {thoughts}"


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        training: problems, network, and how it learns.
        arms: to be compared at the headline's K, names from `ARMS`.
        thoughts, sweep: the headline's K, and all K at which Coconut and SIM-CoT are
            compared.
        shipped: whether the networks come from the zoo; then only its arms can be asked
            for.
        test, probes: problems to test on for each number of steps and each other
            distribution, and to fit probes to.
        blind: updates of the decoder that is given zeros.
        slower: how many updates of Coconut take as long as one of SIM-CoT, as
            `time_updates` measures it.
    """

    training: Training = TRAINING
    arms: tuple[str, ...] = tuple(ARMS)
    thoughts: int = 4
    sweep: tuple[int, ...] = (2, 4, 8)
    shipped: bool = False
    test: int = 300
    probes: int = 1000
    blind: int = 300
    slower: float = 1.8

    def methods(self) -> dict[str, Arm]:
        """Return all arms by name, those of the sweep last."""
        many = {
            with_thoughts(name, k, self.thoughts): replace(ARMS[name], thoughts=k)
            for name in (COCONUT, SIM)
            if name in self.arms
            for k in self.sweep
            if k != self.thoughts
        }
        return {
            name: replace(ARMS[name], thoughts=self.thoughts) for name in self.arms
        } | many


@dataclass(frozen=True)
class World:
    """What all arms of a seed share: problems to train on, and to test on."""

    pool: Problems
    tests: Mapping[str, Problems]  # "2 steps", ..., and other distributions
    probes: tuple[
        chains.Chains, chains.Chains
    ]  # all of the most steps: to fit on, to test on

    @classmethod
    def of(cls, settings: Settings, seed: int) -> "World":
        """Draw them; the names of what is out of distribution are `SHIFTS`."""
        how = settings.training
        fewest, most = how.steps
        kinds = {f"{k} steps": {"steps": k} for k in range(fewest, most + 1)}
        others = (
            {"steps": fewest - 1},
            {"steps": most + 1},
            {"tellings": "new"},
            {"distractors": 1},
        )
        kinds |= dict(zip(SHIFTS, others, strict=True))
        tests = {
            name: Problems.of(how.draw(seed, name, settings.test, **kind))
            for name, kind in kinds.items()
        }
        probes = tuple(
            how.draw(seed, name, settings.probes, steps=most)
            for name in ("to fit", "to test")
        )
        return cls(Problems.of(how.draw(seed, "train", how.pool)), tests, probes)


def learn_all(
    settings: Settings, world: World, seed: int
) -> Iterator[tuple[str, Thinker]]:
    """Train, or load, the model of each arm; those of one K go on from the same first
    thoughts, the others from the model of written steps.
    """
    if settings.shipped:
        networks = zoo.load("chain_thinkers")
        for name in settings.arms:
            yield name, networks[str(seed % len(networks))][name].to(pick_device())
        return
    how, starts = settings.training, {}
    written = learn_steps(how, world.pool, seed)
    for name, arm in settings.methods().items():
        if arm.curriculum and arm.thoughts not in starts:
            starts[arm.thoughts] = learn_first_thoughts(
                how, world.pool, written, arm.thoughts, seed
            )
        if arm.thinking == "steps":  # it can do all there is to do
            yield name, make_thinker(how, written, arm, seed)
        else:
            start = starts[arm.thoughts] if arm.curriculum else written
            updates = round(how.further * (settings.slower if arm.longer else 1))
            yield name, learn_on(how, world.pool, start, arm, seed, updates)


def learn_blind(
    settings: Settings, world: World, thinker: Thinker, seed: int
) -> Decoder:
    """Train a decoder that is given zeros in the thoughts' place: what it can do it
    knows of steps in general.
    """
    how, decoder = settings.training, Decoder(thinker.model).requires_grad_()
    own = [p for p in decoder.parameters() if p is not decoder.model.embedding.weight]
    order = batches(world.pool, settings.blind, how.batch, seed, "blind")

    def loss(i: int) -> Tensor:
        slot = i % thinker.slots
        targets = world.pool.take(order[i]).slots(thinker.slots)[:, slot : slot + 1]
        return step_loss(decoder, nothing(thinker, len(targets), 1), targets)

    fit(loss, settings.blind, optimiser(own, "adamw", how.later, weight_decay=0.01))
    return decoder


def nothing(thinker: Thinker, n: int, slots: int) -> Float[Tensor, "n thoughts width"]:
    """Return zeros in the place of the thoughts of some slots."""
    weight = thinker.model.embedding.weight
    return weight.new_zeros(
        n, slots * thinker.arm.thoughts // thinker.slots, weight.shape[1]
    )


def run(settings: Settings, seed: int) -> Outcome:
    """Train or load all arms of a seed, and judge each by its answers and by what its
    thoughts hold.
    """
    outcome, world = Outcome(), World.of(settings, seed)
    for name, thinker in learn_all(settings, world, seed):
        outcome.exhibits[name] = thinker
        judge(outcome, name, thinker, world)
        if name == SIM:
            score_decoded(
                outcome,
                BLIND,
                thinker,
                world,
                learn_blind(settings, world, thinker, seed),
            )
    compare(outcome, settings)
    return outcome


def judge(outcome: Outcome, name: str, thinker: Thinker, world: World) -> None:
    """Score an arm by its answers, and by its thoughts if it has any."""
    usual = [kind for kind in world.tests if kind not in SHIFTS]
    found = {kind: thinker.solve(test) for kind, test in world.tests.items()}
    right = {
        kind: accuracy(answers, world.tests[kind])
        for kind, (answers, *_) in found.items()
    }
    for kind, share in right.items():
        outcome.score(name, in_setting(ACCURACY, kind), share)
    outcome.score(name, ACCURACY, np.mean([right[kind] for kind in usual]))
    outcome.score(name, OOD, np.mean([right[kind] for kind in SHIFTS]))
    outcome.score(
        name, TOKENS, torch.cat([found[kind][1] for kind in usual]).double().mean()
    )
    if thinker.arm.thinking == "thoughts":
        score_thoughts(outcome, name, thinker, world)
    if thinker.reader is not None:
        score_decoded(outcome, name, thinker, world, thinker.reader)


def score_thoughts(outcome: Outcome, name: str, thinker: Thinker, world: World) -> None:
    """Score what thoughts about problems of the most steps hold, a slot's last thought
    for the probes.
    """
    c, slots = thinker.arm.thoughts // thinker.slots, thinker.slots
    thoughts = [thinker.solve(Problems.of(part))[2].cpu() for part in world.probes]
    for metric, value in geometry(
        thoughts[1], thinker.model.embedding.weight.detach().cpu()
    ).items():
        outcome.score(name, metric, value)
    for metric, labels in (
        (VALUE, lambda w: w.values[:, 1:]),
        (OPERATOR, lambda w: w.sign),
    ):
        (z, y), (z2, y2) = (
            (z[:, c - 1 :: c], labels(w)[:, :slots])
            for z, w in zip(thoughts, world.probes, strict=True)
        )
        shares = probe(z, y, z2, y2)
        outcome.score(name, metric, shares.mean())
        outcome.curve(name, metric, range(1, slots + 1), shares)


def score_decoded(
    outcome: Outcome, name: str, thinker: Thinker, world: World, decoder: Decoder
) -> None:
    """Score a decoder by the steps it writes, exactly as they should be, and by what
    they tell of the answer.
    """
    parts = []
    for kind, test in world.tests.items():
        if kind in SHIFTS:
            continue
        answer, _, thoughts = thinker.solve(test)
        read = (
            nothing(thinker, len(test), thinker.slots)
            if decoder is not thinker.reader
            else thoughts
        )
        there = (
            torch.arange(thinker.slots, device=test.count.device) < test.count[:, None]
        )
        parts.append(
            (decoded(decoder, thinker, test, read), answer == test.answer[:, 1], there)
        )
    right, answered, there = (
        torch.cat(part).double() for part in zip(*parts, strict=True)
    )
    outcome.score(name, DECODED, 100 * (right * there).sum() / there.sum())
    outcome.score(name, GAP, gap(right, answered, there))


def compare(outcome: Outcome, settings: Settings) -> None:
    """Score what only several runs tell: what more thoughts do, and whether distance
    goes with accuracy.
    """
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    for name in (COCONUT, SIM):
        by_k = [
            found.get((with_thoughts(name, k, settings.thoughts), ACCURACY))
            for k in settings.sweep
        ]
        if None not in by_k and len(by_k) > 1:
            outcome.curve(name, "accuracy by K", settings.sweep, by_k)
            outcome.score(name, SLOPE, np.polyfit(np.log2(settings.sweep), by_k, 1)[0])
            outcome.score(name, WORST, min(by_k))
    methods = [method for method, metric in found if metric == DISTANCE]
    columns = [
        [found[method, metric] for method in methods] for metric in (DISTANCE, ACCURACY)
    ]
    varied = all(len(set(column)) > 1 for column in columns)
    outcome.score(RUNS, CORRELATION, spearmanr(*columns).statistic if varied else 0.0)


def time_updates(settings: Settings, seed: int, updates: int = 20) -> float:
    """Measure how many updates of Coconut take as long as one of SIM-CoT, from
    untrained models in the last stage.
    """
    how, seconds = replace(settings.training, written=0), []
    pool = Problems.of(how.draw(seed, "train", how.pool))
    base = learn_steps(how, pool, seed)
    for name in (COCONUT, SIM):
        thinker = make_thinker(
            how, base, replace(ARMS[name], thoughts=settings.thoughts), seed
        )
        for n in (3, updates):  # the first to warm up
            start = perf_counter()
            train(thinker, pool, how, seed, "further", {thinker.last: n}, how.later)
        seconds.append(perf_counter() - start)
    return seconds[1] / seconds[0]


PAPER = Paper(
    slug="mechanisms/sim_cot",
    title="SIM-CoT: Supervised Implicit Chain-of-Thought",
    arxiv="2509.20317",
    year=2026,
    bibkey="wei2026simcot",
    claims=CLAIMS,
    also=ALSO,
    profiles={
        "probe": Settings(
            Training(
                steps=(2, 3),
                pool=120,
                width=16,
                heads=2,
                depth=1,
                batch=8,
                written=3,
                curriculum=(2, 2),
                between=1,
                further=2,
            ),
            thoughts=3,
            sweep=(2, 3),
            test=6,
            probes=40,
            blind=2,
        ),
        "quick": Settings(
            arms=(COT, COCONUT, SIM, STOP),
            sweep=(4,),
            shipped=True,
            probes=300,
            blind=80,
        ),
        "full": Settings(),
    },
    run=run,
)
