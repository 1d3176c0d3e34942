"""How networks that think are trained: written steps first, Coconut's first stages,
and then each arm on its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from stages.models import GPT, seeded
from stages.papers.mechanisms.sim_cot.method import (
    SimCoT,
    StepDecoder,
    Thinker,
    step_loss,
)
from stages.papers.mechanisms.sim_cot.problems import Problems
from stages.papers.mechanisms.sim_cot.variants import Written
from stages.seeding import rng, torch_rng
from stages.training import cosine, fit, optimiser, pick_device
from stages.worlds import chains
from stages.worlds.vocabulary import PAD, Vocabulary

MARKS = ("<thought>", "</thought>", "<pause>")


@dataclass(frozen=True)
class Arm:
    """One of the ways to train a network.

    Attributes:
        kind: what it is, with what it learns from.
        thoughts: K.
        staged: whether it goes on from Coconut's first stages, or from written steps.
        longer: whether it gets as many updates as take the time of SIM-CoT's.
    """

    kind: type[Thinker] = Thinker
    thoughts: int = 4
    staged: bool = True
    longer: bool = False

    def make(self, how: "Training", model: GPT) -> Thinker:
        """Make its network from what it starts from."""
        return self.kind(model, how.words, how.steps[1], self.thoughts)


@dataclass(frozen=True)
class Training:
    """Problems, a network, and how it learns to think.

    Attributes:
        steps, modulus, largest: of the problems; they have no distractors.
        pool: problems to draw batches from.
        width, depth, heads, room: of the network, and the most thoughts that it has
            positions for.
        batch, written: problems in an update, and updates on written steps.
        curriculum: updates in each of the first stages, which all arms of a K share.
        further, between: updates in all stages that follow, and in each of these but
            the last.
        rate, later: Adam's learning rate on written steps, and in everything after.
        seeds: networks of an arm in the zoo.
    """

    steps: tuple[int, int] = (2, 4)
    modulus: int = 5
    largest: int = 2
    pool: int = 30_000
    width: int = 64
    depth: int = 2
    heads: int = 4
    room: int = 8
    batch: int = 64
    written: int = 700
    curriculum: tuple[int, ...] = (300, 1000)
    between: int = 300
    further: int = 1100
    rate: float = 3e-3
    later: float = 1.5e-3
    seeds: int = 3

    def draw(self, seed: int, name: str, n: int, **options) -> chains.Chains:
        """Draw problems as in training, but for `options`."""
        usual = {
            "steps": self.steps,
            "distractors": 0,
            "modulus": self.modulus,
            "largest": self.largest,
        }
        options = usual | options
        return chains.sample(n, seed, plain=True, stream=("sim-cot", name), **options)

    @property
    def words(self) -> Vocabulary:
        """What problems are written in."""
        return chains.vocabulary(self.modulus, plain=True)

    @property
    def length(self) -> int:
        """The most tokens that a question of one step and one distractor more, its
        steps and thoughts may take.
        """
        most = self.steps[1] + 1
        return chains.WIDTH * (most + 3) + 7 * most + self.room + 6


TRAINING = Training()


def batches(
    problems: Problems,
    updates: int,
    batch: int,
    seed: int,
    *names: str | int,
    group: int = 8,
) -> Int[Tensor, "updates batch"]:
    """Draw problems with repeats, those of like length together: of `group` batches, in
    random order, at a time.

    Problems of 2 to 4 steps in one batch would spend a quarter of the time on pads.
    More updates only add to the end.
    """
    length = (problems.question != PAD).sum(1)
    length = length + problems.steps.shape[2] * problems.count
    rows = []
    for g in range(-(-updates // group)):
        chance = rng(seed, "sim-cot", "batches", *names, g)
        some = torch.from_numpy(chance.integers(len(problems), size=group * batch))
        some = some[length[some].argsort(stable=True)].view(group, batch)
        rows.append(some[torch.from_numpy(chance.permutation(group))])
    return torch.cat(rows)[:updates]


def train(
    thinker: Thinker,
    pool: Problems,
    how: Training,
    seed: int,
    phase: str,
    stages: Mapping[int, int],
    rate: float,
) -> None:
    """Train a model in place through stages, each with its number of updates; the
    optimiser starts anew in each, as Coconut's does.

    All arms see the same problems in the same order within a phase, those with more
    updates go on from there.
    """
    for stage, updates in stages.items():
        if not updates:
            continue
        order = batches(pool, updates, how.batch, seed, phase, stage)
        chance = torch_rng(seed, "sim-cot", "targets", phase, stage)
        adam = optimiser(thinker.parameters(), "adamw", rate, weight_decay=0.01)

        def loss(
            i: int,
            stage: int = stage,
            order: Tensor = order,
            chance: Generator = chance,
        ) -> Tensor:
            return thinker.loss(pool.take(order[i]), stage, chance)

        fit(loss, updates, adam, schedule=cosine(updates, updates // 20, 0.1))


def make_gpt(how: Training) -> GPT:
    """Make a network, its weights drawn from torch's own stream."""
    return GPT(len(how.words), how.width, how.depth, how.heads, how.length)


def make_thinker(how: Training, model: GPT, arm: Arm, seed: int) -> Thinker:
    """Make the network of an arm from what it starts from."""
    with seeded(seed, "sim-cot", "thinker"):
        return arm.make(how, model).to(pick_device())


def learn_steps(how: Training, pool: Problems, seed: int) -> GPT:
    """Train a new model on written steps; the marks it has not met start as "<", as
    released for Coconut.
    """
    with seeded(seed, "sim-cot", "model"):
        model = make_gpt(how)
    thinker = make_thinker(how, model, Arm(Written, how.steps[1]), seed)
    train(thinker, pool, how, seed, "steps", {0: how.written}, how.rate)
    weight = thinker.model.embedding.weight
    with torch.no_grad():
        for mark in MARKS:
            weight[how.words.number[mark]] = weight[how.words.number["<"]]
    return thinker.model


def learn_first_thoughts(
    how: Training, pool: Problems, model: GPT, thoughts: int, seed: int
) -> GPT:
    """Take a model of written steps through the first stages, in each of which one more
    step is thought.
    """
    thinker = make_thinker(how, model, Arm(thoughts=thoughts), seed)
    stages = dict(enumerate(how.curriculum, 1))
    train(thinker, pool, how, seed, "curriculum", stages, how.later)
    return thinker.model


def learn_on(
    how: Training,
    pool: Problems,
    model: GPT,
    arm: Arm,
    seed: int,
    updates: int | None = None,
) -> Thinker:
    """Train an arm from there through the stages that are left, `updates` in all, most
    of them in the last.

    An arm that no curriculum precedes is in the last stage from the start, and gets the
    curriculum's updates on top.
    """
    thinker = make_thinker(how, model, arm, seed)
    if updates is None:
        updates = how.further
    stages = {}
    if arm.staged:
        first = len(how.curriculum) + 1
        stages = dict.fromkeys(range(first, thinker.last), how.between)
    else:
        updates += sum(how.curriculum)
    stages[thinker.last] = updates - sum(stages.values())
    train(thinker, pool, how, seed, "further", stages, how.later)
    return thinker


def learn_blind(
    how: Training, pool: Problems, thinker: SimCoT, seed: int, updates: int
) -> StepDecoder:
    """Train a decoder that is given zeros in the thoughts' place: what it can do it
    knows of steps in general.
    """
    decoder = StepDecoder(thinker.model).requires_grad_()
    shared = decoder.model.embedding.weight
    own = [weight for weight in decoder.parameters() if weight is not shared]
    order = batches(pool, updates, how.batch, seed, "blind")

    def loss(i: int) -> Tensor:
        slot = i % thinker.slots
        targets = pool.take(order[i]).slots(thinker.slots)[:, slot : slot + 1]
        nothing = shared.new_zeros(len(targets), thinker.per_slot, shared.shape[1])
        return step_loss(decoder, nothing, targets)

    fit(loss, updates, optimiser(own, "adamw", how.later, weight_decay=0.01))
    return decoder


def time_updates(how: Training, thoughts: int, seed: int, updates: int = 20) -> float:
    """Measure how many updates of Coconut take as long as one of SIM-CoT, from
    untrained models in the last stage.
    """
    how = replace(how, written=0)
    pool = Problems.of(how.draw(seed, "train", how.pool))
    base = learn_steps(how, pool, seed)
    seconds = []
    for kind in (Thinker, SimCoT):
        thinker = make_thinker(how, base, Arm(kind, thoughts), seed)
        for n in (3, updates):  # the first to warm up
            start = perf_counter()
            train(thinker, pool, how, seed, "further", {thinker.last: n}, how.later)
        seconds.append(perf_counter() - start)
    return seconds[1] / seconds[0]
