"""The arms: one start model, and what each of them goes on with."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from stages import zoo
from stages.models import GPT, seeded
from stages.papers.post_training.reinforcement_mid_training import method, prose, start
from stages.papers.post_training.reinforcement_mid_training.method import (
    Curriculum,
    Objective,
    Rollouts,
)
from stages.papers.post_training.reinforcement_mid_training.prose import Positions
from stages.papers.post_training.reinforcement_mid_training.start import Start
from stages.seeding import torch_rng
from stages.training import cosine, fit, next_token_loss, optimiser
from stages.training.policy import dead_groups
from stages.worlds.vocabulary import PAD

UNCERTAIN = 0.5  # nats; RPT thinks about positions above it
WARMUP = 50  # updates of continued prediction


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        start: how the model that all arms start from is trained; None takes the zoo's.
        pool: positions of training texts to draw from.
        updates: of reinforcement.
        positions, samples: of an update, and thoughts at each position.
        new: the most tokens that thought, answer and marks may take.
        reads, batch: updates of continued prediction, and documents of each.
        asked: test positions of each kind, questions, and documents.
        watched, every: of these, how many are thought about every so many updates.
        only: arms that are run; all where it is empty.
    """

    start: Start | None = field(default_factory=Start)
    pool: int = 6000
    updates: int = 120
    positions: int = 12
    samples: int = 16
    new: int = 34
    reads: int = 1500
    batch: int = 32
    asked: int = 500
    watched: int = 60
    every: int = 20
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        model: the start.
        pool, entropy: positions to think about, and how uncertain the start is of each.
        test: other positions, by kind.
        questions, text: to answer, and to read, both held out.
    """

    model: GPT
    seed: int
    pool: Positions
    entropy: Float[Tensor, " n"]
    test: dict[str, Positions]
    questions: prose.Chains
    text: Int[Tensor, "n length"]

    @classmethod
    def of(cls, settings: Settings, seed: int) -> "Lab":
        """Train the start of a seed, or take the zoo's, and draw the texts."""
        if settings.start is None:
            model = zoo.load("reason_gpt")
        else:
            with seeded(seed, "start"):
                model = start.make(settings.start)
            start.learn(model, settings.start, seed)
        model.eval().requires_grad_(False)
        pool = prose.positions(settings.pool, seed, "pool")
        test = {
            kind: prose.positions(settings.asked, seed, "test", kind=kind)
            for kind in prose.KINDS
        }
        return cls(
            model,
            seed,
            pool,
            method.entropies(model, pool),
            test,
            prose.draw(settings.asked, seed, "test questions"),
            prose.documents(prose.draw(settings.asked, seed, "test text")),
        )


# ------------------------------------------------------------- what to think about

Where = Callable[[Lab, int, float, Generator], Int[Tensor, " count"]]


def uncertain(lab: Lab, count: int, progress: float, chance: Generator) -> Tensor:
    """Draw positions of which the start is uncertain, as RPT does."""
    rows = (lab.entropy > UNCERTAIN).nonzero()[:, 0]
    return rows[torch.randint(len(rows), (count,), generator=chance)]


def anywhere(lab: Lab, count: int, progress: float, chance: Generator) -> Tensor:
    """Draw from all positions."""
    return torch.randint(len(lab.pool), (count,), generator=chance)


def by_curriculum(lab: Lab, count: int, progress: float, chance: Generator) -> Tensor:
    """Draw easy ones first, hard ones later, as RMT does."""
    return Curriculum().draw(lab.entropy, count, progress, chance)


# ----------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Arm:
    """What an arm learns after the start.

    Attributes:
        rate: of AdamW; 0: it learns nothing.
        where: draws positions to think about; without it, text is read on.
        objective: of what is written there.
    """

    rate: float = 0.0
    where: Where | None = None
    objective: Objective = field(default_factory=Objective)


@dataclass
class Learnt:
    """An arm's model, and what its training was like.

    Attributes:
        processed: tokens that went through the network, in sampling and in learning.
        dead: of each update, the share of positions whose samples all match or all
            miss.
        missed: the same of those whose samples all miss.
    """

    model: GPT
    processed: int = 0
    dead: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)


Watch = Callable[[int, GPT], None]


def learn(lab: Lab, arm: Arm, settings: Settings, watch: Watch) -> Learnt:
    """Train a copy of the start as an arm says; `watch` sees it now and then."""
    learnt = Learnt(copy.deepcopy(lab.model).requires_grad_(True))
    if arm.where is not None:
        think(learnt, lab, arm, settings, watch)
    elif arm.rate:
        read(learnt, lab, arm, settings)
    learnt.model.requires_grad_(False)
    return learnt


def think(learnt: Learnt, lab: Lab, arm: Arm, settings: Settings, watch: Watch) -> None:
    """Learn from thoughts about positions of the pool."""
    model = learnt.model
    adam = optimiser(model.parameters(), "adamw", arm.rate, weight_decay=0.0)
    places = torch_rng(lab.seed, "mid-training", "positions")
    samples = torch_rng(lab.seed, "mid-training", "samples")
    watch(0, model)

    def loss(step: int) -> Tensor:
        progress = step / settings.updates
        rows = arm.where(lab, settings.positions, progress, places)
        positions = lab.pool.take(rows)
        rollouts = method.roll_out(
            model, positions, settings.samples, settings.new, samples
        )
        match = rollouts.match.float()
        learnt.dead.append(dead_groups(match).float().mean().item())
        learnt.missed.append((match.sum(1) == 0).float().mean().item())
        learnt.processed += passed(positions, rollouts, arm.objective)
        return method.mid_train(model, positions, rollouts, arm.objective, progress)

    def after(step: int) -> None:
        if (step + 1) % settings.every == 0:
            watch(step + 1, model)

    fit(loss, settings.updates, adam, clip=1.0, after_step=after)


def passed(positions: Positions, rollouts: Rollouts, objective: Objective) -> int:
    """Count the tokens that an update passes through the network: in sampling, and once
    more where it learns from them.
    """
    chosen, _ = method.learn_from(rollouts, rollouts.match.float(), objective.most)
    texts = [rollouts.tokens, chosen.tokens]
    if objective.text:
        texts.append(positions.document)
    return sum(int((tokens != PAD).sum()) for tokens in texts)


def read(learnt: Learnt, lab: Lab, arm: Arm, settings: Settings) -> None:
    """Go on predicting the next token of the same texts, without a thought."""
    model = learnt.model
    adam = optimiser(model.parameters(), "adamw", arm.rate, weight_decay=0.0)
    chance = torch_rng(lab.seed, "mid-training", "texts")

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(lab.pool), (settings.batch,), generator=chance)
        text = lab.pool.document[rows]
        learnt.processed += int((text != PAD).sum())
        return next_token_loss(model(text), text, text != PAD)

    schedule = cosine(settings.reads, min(WARMUP, settings.reads // 2))
    fit(loss, settings.reads, adam, schedule=schedule, clip=1.0)
