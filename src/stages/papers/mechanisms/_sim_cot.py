"""SIM-CoT: thoughts that are vectors, and a decoder that must be able to write out what each of them stands for.

Wei, Liu, Zang, Dong, Cao, Wang, Qiu & Lin, "SIM-CoT: Supervised Implicit Chain-of-Thought", ICLR 2026, arXiv
2509.20317. In place of written steps a model feeds its last hidden state back to itself K times (Coconut, Hao et al.
2024) and then answers. Only the answer is trained, so little ties a vector to a step. SIM-CoT adds a second model,
during training alone, that has to write step k from vector k; its gradient goes through the vector into the model.

What differs from the paper: a transformer of width 64, trained here, on chains of sums told in words, in place of GPT-2
and Llama on GSM8k-Aug. All arms, those without steps too, start from the model that was trained on written steps.
A thought is brought to the length of an embedding before it is fed back (in the paper it is not, and in these models it
would be ten times as long); CODI projects it as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor

from stages.evidence import Claim, Outcome, Paper, in_setting
from stages.models import GPT, seeded
from stages.papers.mechanisms.common.thoughts import (
    DISTANCE,
    RANK,
    Arm,
    Decoder,
    Problems,
    Thinker,
    decode,
    gap,
    geometry,
    probe,
    step_loss,
)
from stages.seeding import rng, torch_rng
from stages.training import cosine, fit, optimiser, pick_device
from stages.worlds import chains
from stages.worlds.vocabulary import PAD, Vocabulary

# ------------------------------------------------------------------------------------------------------ the claims

_CONTROL = "not found; the control is ours"
_GEOMETRY = "mean distance 4.21 in a failed model, 32.81 with step supervision"

COCONUT, SIM, WALL, REPLAY = "Coconut", "SIM-CoT", "Coconut, equal time", "Coconut, step-text replay"
STOP, SHUFFLED, FOREIGN = "SIM-CoT, stop-gradient", "SIM-CoT, steps shuffled", "SIM-CoT, another problem's steps"
LINEAR, BLIND = "SIM-CoT, linear read-out", "decoder given a zero vector"
NO_COT, PAUSE, COT, CODI, CODI_SIM = "no CoT", "pause tokens", "explicit CoT", "CODI", "CODI + SIM"
CURRICULUM, RUNS = "Coconut, curriculum alone", "all runs"
ACCURACY, OOD, TOKENS = "accuracy", "accuracy, out of distribution", "tokens generated"
SLOPE, WORST = "accuracy gained by doubling K", "accuracy at the worst K"
VALUE, OPERATOR, CORRELATION = "value probe", "operator probe", "rank correlation of distance and accuracy"
DECODED, GAP = "decoded steps, exact match", "accuracy gap, step decoded right - wrong"

CLAIMS = (
    Claim("C1", "With as many thoughts and further updates, step supervision makes Coconut more accurate.",
          ACCURACY, SIM, COCONUT, margin=1.0, reported="36.6 -> 44.8 % (GPT-2, GSM8k-Aug); equal updates not found"),
    Claim("C1b", "It does so too where Coconut gets as much time as SIM-CoT takes.",
          ACCURACY, SIM, WALL, margin=1.0, reported=_CONTROL),
    Claim("C1c", "It does so too where Coconut goes on reading written steps in a fifth of its examples.",
          ACCURACY, SIM, REPLAY, margin=1.0, reported=_CONTROL),
    Claim("C1d", "It does so out of distribution.", OOD, SIM, COCONUT, margin=1.0, reported="42.6 -> 46.9 %"),
    Claim("C1e", "It makes CODI more accurate.", ACCURACY, CODI_SIM, CODI, reported="+0.6 points (GPT-2)"),
    Claim("C2a", "The more thoughts, from 2 to 8, the less accurate is Coconut.",
          SLOPE, COCONUT, lower_is_better=True, reported="unstable at 5 thoughts, down to 12.5 %"),
    Claim("C2b", "SIM-CoT loses no more than a point each time the number of thoughts doubles.",
          SLOPE, SIM, margin=1.0, kind="noninferiority", reported="stable at 8 and 16 thoughts"),
    Claim("C2c", "At its worst number of thoughts SIM-CoT is more accurate than Coconut at its own.",
          WORST, SIM, COCONUT, margin=1.0, reported="12.5 % for Coconut; for SIM-CoT not found"),
    Claim("C3a", "Its thoughts about one problem lie further apart, by their own length.",
          DISTANCE, SIM, COCONUT, reported=_GEOMETRY),
    Claim("C3b", "They fill more dimensions.", RANK, SIM, COCONUT, reported=_GEOMETRY),
    Claim("C3c", "A linear probe reads a step's operator from its thought more surely.",
          OPERATOR, SIM, COCONUT, margin=1.0, reported="failed thoughts decode to digits alone"),
    Claim("C3d", "Across runs, the further apart thoughts lie, the more accurate the model.",
          CORRELATION, RUNS, reported="not found"),
    Claim("C4a", "Gradients into the thoughts matter: a decoder that sends none gives less.",
          ACCURACY, SIM, STOP, margin=1.0, reported=_CONTROL),
    Claim("C4b", "Without them nothing is gained.",
          ACCURACY, STOP, COCONUT, margin=2.0, kind="equivalence", reported=_CONTROL),
    Claim("C4c", "Steps in a random order give no gain.",
          ACCURACY, COCONUT, SHUFFLED, margin=2.0, kind="noninferiority", reported=_CONTROL),
    Claim("C4d", "Steps of another problem give no gain.",
          ACCURACY, COCONUT, FOREIGN, margin=2.0, kind="noninferiority", reported=_CONTROL),
    Claim("C5a", "SIM-CoT is as accurate as written steps.",
          ACCURACY, SIM, COT, margin=2.0, kind="noninferiority", reported="44.8 against 42.7 %"),
    Claim("C5b", "It generates fewer tokens, thoughts counted.",
          TOKENS, SIM, COT, lower_is_better=True, reported="2.3 times fewer"),
    Claim("C5c", "It beats pause tokens.", ACCURACY, SIM, PAUSE, margin=1.0, reported="not found"),
    Claim("C5d", "It beats answering at once.", ACCURACY, SIM, NO_COT, margin=1.0, reported="not found"),
    Claim("C6a", "The decoder writes step k from thought k, and not from its sense of what steps look like.",
          DECODED, SIM, BLIND, margin=10.0, reported="shown by examples; rates not found"),
    Claim("C6b", "Where a decoded step is wrong, the answer is wrong more often.",
          GAP, SIM, margin=5.0, reported="not found"),
)  # fmt: skip

# -------------------------------------------------------------------------------------------------- the experiment

SHIFTS = ("one step more", "new tellings", "one distractor more")
ARMS = {
    NO_COT: Arm("none"),
    PAUSE: Arm("pauses"),
    COT: Arm("steps"),
    CURRICULUM: Arm(longer=0.0),
    COCONUT: Arm(),
    WALL: Arm(longer=None),
    REPLAY: Arm(replay=0.2),
    SIM: Arm(step=1.0),
    STOP: Arm(step=1.0, stop=True),
    SHUFFLED: Arm(step=1.0, targets="shuffled"),
    FOREIGN: Arm(step=1.0, targets="foreign"),
    LINEAR: Arm(step=1.0, reader="linear"),
    f"{SIM}, λ = 0.1": Arm(step=0.1),
    f"{SIM}, λ = 3": Arm(step=3.0),
    CODI: Arm(distil=True),
    CODI_SIM: Arm(distil=True, step=1.0),
}


def with_thoughts(method: str, thoughts: int, headline: int) -> str:
    """Name a method with another number of thoughts than the headline's."""
    return method if thoughts == headline else f"{method}, K = {thoughts}"


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        arms: to be compared at the headline's K, names from `ARMS`.
        thoughts, sweep: the headline's K, and all K at which Coconut and SIM-CoT are compared.
        steps, distractors, modulus, largest: of the problems to train on.
        pool, test, probes: problems to draw batches from, to test on for each number of steps and each other
            distribution, and to fit probes to.
        width, depth, heads: of the network.
        batch, learn, curriculum, further: problems in an update; updates on written steps, of a curriculum, and after.
        rate, later: Adam's learning rate on written steps, and in everything after.
        slower: how many updates of Coconut take as long as one of SIM-CoT, as `time_updates` measures it.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    thoughts: int = 4
    sweep: tuple[int, ...] = (2, 4, 8)
    steps: tuple[int, int] = (2, 4)
    distractors: tuple[int, int] = (0, 0)
    modulus: int = 5
    largest: int = 2
    pool: int = 30_000
    test: int = 300
    probes: int = 1000
    width: int = 64
    depth: int = 2
    heads: int = 4
    batch: int = 64
    learn: int = 700
    curriculum: int = 1200
    further: int = 900
    rate: float = 3e-3
    later: float = 3e-3
    slower: float = 1.8

    def draw(self, seed: int, name: str, n: int, **options) -> chains.Chains:
        """Draw problems as in training, but for `options`."""
        usual = {"steps": self.steps, "distractors": self.distractors, "modulus": self.modulus, "largest": self.largest}
        return chains.sample(n, seed, plain=True, stream=("sim-cot", name), **{**usual, **options})

    @property
    def words(self) -> Vocabulary:
        """What problems are written in."""
        return chains.vocabulary(self.modulus, plain=True)

    def methods(self) -> dict[str, Arm]:
        """Return all arms by name, those of the sweep last."""
        many = {
            with_thoughts(name, k, self.thoughts): replace(ARMS[name], thoughts=k)
            for name in (COCONUT, SIM) if name in self.arms
            for k in self.sweep if k != self.thoughts
        }  # fmt: skip
        return {name: replace(ARMS[name], thoughts=self.thoughts) for name in self.arms} | many

    @property
    def length(self) -> int:
        """The most tokens that a question of one step and one distractor more, its steps and thoughts may take."""
        sentences = self.steps[1] + self.distractors[1] + 4
        return chains.WIDTH * sentences + 7 * (self.steps[1] + 1) + max(*self.sweep, self.thoughts) + 6

    def updates(self, arm: Arm) -> int:
        """Return the updates of an arm after the model of written steps, or after its curriculum if it has one."""
        updates = self.further * (self.slower if arm.longer is None else arm.longer)
        return round(updates) + (0 if arm.curriculum else self.curriculum)


@dataclass(frozen=True)
class World:
    """What all arms of a seed share: problems to train on, and to test on."""

    pool: Problems
    tests: Mapping[str, Problems]  # "2 steps", ..., and other distributions
    probes: tuple[chains.Chains, chains.Chains]  # all of the most steps: to fit on, to test on

    @classmethod
    def of(cls, settings: Settings, seed: int) -> "World":
        """Draw them; the names of what is out of distribution are `SHIFTS`."""
        fewest, most = settings.steps
        kinds = {f"{k} steps": {"steps": k} for k in range(fewest, most + 1)}
        others = settings.distractors[1] + 1
        kinds |= dict(zip(SHIFTS, ({"steps": most + 1}, {"tellings": "new"}, {"distractors": others}), strict=True))
        tests = {name: Problems.of(settings.draw(seed, name, settings.test, **kind)) for name, kind in kinds.items()}
        probes = tuple(settings.draw(seed, name, settings.probes, steps=most) for name in ("to fit", "to test"))
        return cls(Problems.of(settings.draw(seed, "train", settings.pool)), tests, probes)


def batches(
    problems: Problems, updates: int, batch: int, seed: int, *names: str | int, group: int = 8
) -> Int[Tensor, "updates batch"]:
    """Draw problems with repeats, those of like length together: of `group` batches, in random order, at a time.

    Problems of 2 to 4 steps in one batch would spend a quarter of the time on pads. More updates only add to the end.
    """
    length, rows = (problems.question != PAD).sum(1) + problems.steps.shape[2] * problems.count, []
    for g in range(-(-updates // group)):
        chance = rng(seed, "sim-cot", "batches", *names, g)
        some = torch.from_numpy(chance.integers(len(problems), size=group * batch))
        some = some[length[some].argsort(stable=True)].view(group, batch)
        rows.append(some[torch.from_numpy(chance.permutation(group))])
    return torch.cat(rows)[:updates]


def train(
    thinker: Thinker, world: World, settings: Settings, seed: int, phase: str, stages: Iterable[int], updates: int
):
    """Train a model through stages with `updates` each; the optimiser starts anew in each, as Coconut's does.

    All arms see the same problems in the same order within a phase, those with more updates go on from there.
    """
    rate = settings.rate if phase == "steps" else settings.later
    for stage in stages if updates else ():
        order = batches(world.pool, updates, settings.batch, seed, phase, stage)
        chance = torch_rng(seed, "sim-cot", "targets", phase, stage)
        adam = optimiser(thinker.parameters(), "adamw", rate, weight_decay=0.01)

        def loss(i: int, stage: int = stage, order: Tensor = order, chance: torch.Generator = chance) -> Tensor:
            return thinker.loss(world.pool.take(order[i]), stage, chance)

        fit(loss, updates, adam, schedule=cosine(updates, updates // 20, 0.1))


def make_thinker(settings: Settings, model: GPT, arm: Arm, seed: int) -> Thinker:
    """Make the model of an arm from what it starts from."""
    with seeded(seed, "sim-cot", "thinker"):
        return Thinker(model, arm, settings.words, settings.steps[1]).to(pick_device())


def learn_steps(settings: Settings, world: World, seed: int) -> GPT:
    """Train a new model on written steps; the marks it has not met start as "<", as released for Coconut."""
    words = settings.words
    with seeded(seed, "sim-cot", "model"):
        model = GPT(len(words), settings.width, settings.depth, settings.heads, settings.length)
    thinker = make_thinker(settings, model, Arm("steps", settings.thoughts), seed)
    train(thinker, world, settings, seed, "steps", [0], settings.learn)
    marks = [words.number[mark] for mark in ("<thought>", "</thought>", "<pause>")]
    with torch.no_grad():
        thinker.model.embedding.weight[marks] = thinker.model.embedding.weight[words.number["<"]].clone()
    return thinker.model


def learn_curriculum(settings: Settings, world: World, model: GPT, thoughts: int, seed: int) -> GPT:
    """Replace written steps by thoughts, one slot a stage; every K takes as many updates in all."""
    thinker = make_thinker(settings, model, Arm(thoughts=thoughts), seed)
    stages = range(1, thinker.last + 1)
    train(thinker, world, settings, seed, "curriculum", stages, settings.curriculum // len(stages))
    return thinker.model


def learn_blind(settings: Settings, world: World, thinker: Thinker, seed: int) -> Decoder:
    """Train a decoder that is given zeros in the thoughts' place: what it can do it knows of steps in general."""
    decoder = Decoder(thinker.model)
    own = [p for p in decoder.parameters() if p is not decoder.model.embedding.weight]
    order = batches(world.pool, settings.further, settings.batch, seed, "blind")

    def loss(i: int) -> Tensor:
        slot = i % thinker.slots
        targets = world.pool.take(order[i]).slots(thinker.slots)[:, slot : slot + 1]
        return step_loss(decoder, nothing(thinker, len(targets), 1), targets)

    fit(loss, settings.further, optimiser(own, "adamw", settings.later, weight_decay=0.01))
    return decoder


def nothing(thinker: Thinker, n: int, slots: int) -> Float[Tensor, "n thoughts width"]:
    """Return zeros in the place of the thoughts of some slots."""
    weight = thinker.model.embedding.weight
    return weight.new_zeros(n, slots * thinker.arm.thoughts // thinker.slots, weight.shape[1])


def run(settings: Settings, seed: int) -> Outcome:
    """Train the model of written steps, the curricula that arms need, then each arm from there, for one seed."""
    outcome, world, starts = Outcome(), World.of(settings, seed), {}
    base = learn_steps(settings, world, seed)
    for name, arm in settings.methods().items():
        if arm.curriculum and arm.thoughts not in starts:
            starts[arm.thoughts] = learn_curriculum(settings, world, base, arm.thoughts, seed)
        thinker = make_thinker(settings, starts[arm.thoughts] if arm.curriculum else base, arm, seed)
        train(thinker, world, settings, seed, "further", [thinker.last], settings.updates(arm))
        outcome.exhibits[name] = thinker
        judge(outcome, name, thinker, world)
        if name == SIM:
            score_decoded(outcome, BLIND, thinker, world, learn_blind(settings, world, thinker, seed), blind=True)
    compare(outcome, settings)
    return outcome


def judge(outcome: Outcome, name: str, thinker: Thinker, world: World) -> None:
    """Score an arm by its answers, and by its thoughts if it has any."""
    found = {kind: thinker.solve(test) for kind, test in world.tests.items()}
    right = {
        kind: 100 * (answer == world.tests[kind].answer[:, 1]).double().mean() for kind, (answer, *_) in found.items()
    }
    usual = [kind for kind in found if kind not in SHIFTS]
    for kind, share in right.items():
        outcome.score(name, in_setting(ACCURACY, kind), share)
    outcome.score(name, ACCURACY, torch.stack([right[kind] for kind in usual]).mean())
    outcome.score(name, OOD, torch.stack([right[kind] for kind in SHIFTS]).mean())
    outcome.score(name, TOKENS, torch.cat([found[kind][1] for kind in usual]).double().mean())
    if thinker.arm.thinking == "thoughts":
        score_thoughts(outcome, name, thinker, world)
    if isinstance(thinker.reader, Decoder):
        score_decoded(outcome, name, thinker, world, thinker.reader)


def score_thoughts(outcome: Outcome, name: str, thinker: Thinker, world: World) -> None:
    """Score what thoughts about problems of the most steps hold, a slot's last thought for the probes."""
    c, slots = thinker.arm.thoughts // thinker.slots, thinker.slots
    thoughts = [thinker.solve(Problems.of(part))[2].cpu() for part in world.probes]
    for metric, value in geometry(thoughts[1], thinker.model.embedding.weight.detach().cpu()).items():
        outcome.score(name, metric, value)
    for metric, labels in ((VALUE, lambda w: w.values[:, 1:]), (OPERATOR, lambda w: w.sign)):
        (z, y), (z2, y2) = (
            (z[:, c - 1 :: c], labels(w)[:, :slots]) for z, w in zip(thoughts, world.probes, strict=True)
        )
        shares = probe(z, y, z2, y2)
        outcome.score(name, metric, shares.mean())
        outcome.curve(name, metric, range(1, slots + 1), shares)


def score_decoded(
    outcome: Outcome, name: str, thinker: Thinker, world: World, decoder: Decoder, blind: bool = False
) -> None:
    """Score a decoder by the steps it writes, exactly as they should be, and by what they tell of the answer."""
    parts = []
    for kind, test in world.tests.items():
        if kind in SHIFTS:
            continue
        answer, _, thoughts = thinker.solve(test)
        read, truth = nothing(thinker, len(test), thinker.slots) if blind else thoughts, test.slots(thinker.slots)
        made = decode(decoder, read, thinker.slots, truth.shape[2], thinker.words["<end>"])
        there = torch.arange(thinker.slots, device=truth.device) < test.count[:, None]
        parts.append(((made == truth).all(2), answer == test.answer[:, 1], there))
    right, answered, there = (torch.cat(part).double() for part in zip(*parts, strict=True))
    outcome.score(name, DECODED, 100 * (right * there).sum() / there.sum())
    outcome.score(name, GAP, gap(right, answered, there))


def compare(outcome: Outcome, settings: Settings) -> None:
    """Score what only several runs tell: what more thoughts do, and whether distance goes with accuracy."""
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    for name in (COCONUT, SIM):
        by_k = [found.get((with_thoughts(name, k, settings.thoughts), ACCURACY)) for k in settings.sweep]
        if None not in by_k and len(by_k) > 1:
            outcome.curve(name, "accuracy by K", settings.sweep, by_k)
            outcome.score(name, SLOPE, np.polyfit(np.log2(settings.sweep), by_k, 1)[0])
            outcome.score(name, WORST, min(by_k))
    methods = [method for method, metric in found if metric == DISTANCE]
    columns = [[found[method, metric] for method in methods] for metric in (DISTANCE, ACCURACY)]
    varied = all(len(set(column)) > 1 for column in columns)
    outcome.score(RUNS, CORRELATION, spearmanr(*columns).statistic if varied else 0.0)


def time_updates(settings: Settings, seed: int, updates: int = 20) -> float:
    """Measure how many updates of Coconut take as long as one of SIM-CoT, from untrained models."""
    world, seconds = World.of(settings, seed), []
    base = learn_steps(replace(settings, learn=0), world, seed)
    for name in (COCONUT, SIM):
        thinker = make_thinker(settings, base, replace(ARMS[name], thoughts=settings.thoughts), seed)
        for n in (3, updates):  # the first to warm up
            start = perf_counter()
            train(thinker, world, settings, seed, "further", [thinker.last], n)
        seconds.append(perf_counter() - start)
    return seconds[1] / seconds[0]


PAPER = Paper(
    slug="mechanisms/sim_cot",
    title="SIM-CoT: Supervised Implicit Chain-of-Thought",
    arxiv="2509.20317",
    year=2026,
    bibkey="wei2026simcot",
    claims=CLAIMS,
    profiles={
        "quick": Settings(arms=(COCONUT, SIM, STOP), sweep=(4,), test=100, probes=300, further=80),
        "full": Settings(),
    },
    run=run,
)
