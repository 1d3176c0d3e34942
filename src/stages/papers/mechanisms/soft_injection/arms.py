"""The arms: each answers the same test, zero-shot or after demonstrations.

An arm is a function of what the arms of a seed share, `Lab`. It returns 100 for each
right answer and 0 for each wrong one, and what it learned.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor

from stages.models import GPT
from stages.papers.mechanisms.soft_injection import method, rivals
from stages.papers.mechanisms.soft_injection.method import Learnt, Training
from stages.papers.mechanisms.soft_injection.prompts import (
    Prompts,
    Shares,
    Toys,
    Trace,
    orders,
    permuted,
    right,
)
from stages.worlds.ledgers import TASKS, Facts, divided

SHOTS = 10
Right = Float[Tensor, "tasks n"]
Found = tuple[Right, Learnt | None]


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        steps, every: of what is learned, and between two looks at the validation toys.
        prompts: averaged into a trace; as many with shuffled labels score the heads.
        draws: of ten training toys, for prompts and for what is learned from ten.
        most: numbers of heads that a function vector may sum.
        rank: of LoRA.
        only: arms that are run; all where it is empty.
    """

    steps: int = 200
    every: int = 25
    prompts: int = 50
    draws: int = 10
    most: tuple[int, ...] = (1, 2, 4, 8)
    rank: int = 2
    only: tuple[str, ...] = ()

    def training(self, rate: float) -> Training:
        """Return how numbers are learned at a rate."""
        return Training(rate, self.steps, self.every)


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        toys: of each task, by split.
        train, validation, test: zero-shot prompts about them.
        trace: each task's, from prompts of ten training toys.
        ten: draws of ten training toys, and an eleventh to ask about.
    """

    model: GPT
    facts: Facts
    seed: int
    toys: dict[str, Toys]
    train: Prompts
    validation: Prompts
    test: Prompts
    trace: Trace
    ten: Int[Tensor, "draws tasks 11"]

    @classmethod
    def of(cls, model: GPT, facts: Facts, settings: Settings, seed: int) -> "Lab":
        """Divide the toys of a seed, and read what all arms need."""
        toys = divided(facts, seed)
        asked = {
            split: Prompts.read(model, facts, part) for split, part in toys.items()
        }
        shown = drawn(toys["train"], settings.prompts, seed, "embed")
        trace = method.embed(demonstrated(model, facts, shown.transpose(0, 1)))
        ten = drawn(toys["train"], settings.draws, seed, "ten")
        return cls(model, facts, seed, toys, *asked.values(), trace, ten)


def drawn(
    toys: Toys, draws: int, seed: int, name: str
) -> Int[Tensor, "draws tasks 11"]:
    """Draw toys to show and, last, one to ask about; each task's apart."""
    order = orders(draws, *toys.shape, seed=seed, name=name)[..., : SHOTS + 1]
    return toys.expand(draws, -1, -1).gather(2, order)


def demonstrated(
    model: GPT, facts: Facts, toys: Int[Tensor, "problems n 11"]
) -> Prompts:
    """Read prompts that show ten toys and ask about the eleventh."""
    return Prompts.read(model, facts, toys[..., -1], toys[..., :-1])


# ------------------------------------------------------------------------------ prompts


def zero_shot(lab: Lab, settings: Settings, how: Training) -> Found:
    """Ask, and show nothing."""
    return right(lab.test.logits(), lab.test), None


def few_shot(lab: Lab, settings: Settings, how: Training) -> Found:
    """Ask after ten demonstrations, the mean over draws of these."""
    query = lab.toys["test"].repeat(settings.draws, 1)
    shown = lab.ten[..., :-1].flatten(0, 1)
    shown = repeat(shown, "problems shots -> problems n shots", n=query.shape[1])
    prompts = Prompts.read(lab.model, lab.facts, query, shown)
    return by_task(right(prompts.logits(), prompts)), None


def by_task(found: Float[Tensor, "problems n"]) -> Right:
    """Average over the draws of a task."""
    return found.unflatten(0, (-1, len(TASKS))).mean(0)


# ---------------------------------------------------------------------- what is learned


def injected(lab: Lab, share: Shares, trace: Trace) -> Right:
    """Answer the test with a trace injected."""
    with torch.no_grad():
        return right(lab.test.logits(method.inject(share, trace)), lab.test)


def soft(lab: Lab, settings: Settings, how: Training) -> Found:
    """SITE: each task's own trace, α from forty training toys."""
    learnt = method.select(lab.trace, lab.train, lab.validation, how)
    return injected(lab, learnt.best, lab.trace), learnt


def soft_on_noise(lab: Lab, settings: Settings, how: Training) -> Found:
    """SITE, trained and tested with noise in the trace's place."""
    noise = rivals.noise_like(lab.trace, lab.seed)
    learnt = method.select(noise, lab.train, lab.validation, how)
    return injected(lab, learnt.best, noise), learnt


def soft_from_ten(lab: Lab, settings: Settings, how: Training) -> Found:
    """SITE with t and α from the ten pairs of one prompt. They leave none to validate
    on: the last α counts.
    """
    toys = lab.ten.flatten(0, 1)
    trace = method.embed(demonstrated(lab.model, lab.facts, toys[:, None]))
    train = Prompts.read(lab.model, lab.facts, toys[:, :-1])
    learnt = method.select(trace, train, None, how)
    query = lab.toys["test"].repeat(settings.draws, 1)
    test = Prompts.read(lab.model, lab.facts, query)
    found = injected(replace(lab, test=test), learnt.best, trace)
    return by_task(found), learnt


def gains(lab: Lab, settings: Settings, how: Training) -> Found:
    """A factor a head, and no trace."""
    learnt = rivals.learn_gains(lab.trace, lab.train, lab.validation, how)
    hooks = rivals.scaled(learnt.best, lab.trace)
    return right(lab.test.logits(hooks), lab.test), learnt


def lora(lab: Lab, settings: Settings, how: Training) -> Found:
    """LoRA on W_O."""
    learnt = rivals.learn_lora(
        lab.trace, lab.train, lab.validation, how, settings.rank, lab.seed
    )
    logits = lab.test.logits(rivals.low_rank(learnt.best), everywhere=True)
    return right(logits, lab.test), learnt


def function_vector(lab: Lab, settings: Settings, how: Training) -> Found:
    """What a few heads write if they say t, added after one block."""
    toys = drawn(lab.toys["train"], settings.prompts, lab.seed, "shuffled")
    shown, query = toys.transpose(0, 1).split((SHOTS, 1), -1)
    labels = permuted(shown, lab.seed)
    prompts = Prompts.read(lab.model, lab.facts, query[..., 0], shown, labels)
    effects = rivals.indirect_effects(prompts, lab.trace)
    logits = rivals.function_vectors(
        lab.trace, effects, lab.validation, lab.test, settings.most
    )
    return right(logits, lab.test), None


@dataclass(frozen=True)
class Arm:
    """One way to answer, and Adam's rate where something is learned."""

    run: Callable[[Lab, Settings, Training], Found]
    rate: float = 0.0
