"""The generator: a base model that has read prose, and then worked solutions. It
solves some problems, and others only now and then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.models import GPT, seeded
from stages.papers.post_training._implicit_prm import bank
from stages.seeding import torch_rng
from stages.training import fit, next_token_loss, optimiser
from stages.worlds import chain_prose
from stages.worlds.vocabulary import answered
from stages.zoo import chain_prose as reading
from stages.zoo.recipe import Recipe

STEPS = (2, 4)  # of the worked solutions: the fewest and the most
TEMPERATURE = 0.8
LOOK = 25  # updates between two looks at what is solved
LOOKED = (60, 8)  # problems and solutions of a look


@dataclass(frozen=True)
class Schooling(reading.Reading):
    """How a base model reads, and then learns to work in steps.

    Attributes:
        worked: solutions that it learns from.
        solved: share in % of validation problems at which lessons end; seeds learn at
            different times, and all shall solve about as much.
        lessons: updates on 32 solutions each, at most.
        cooling: more updates after that, while the rate falls to 0.
        cooling: int = 0
    lesson_rate: of Adam.
    """

    worked: int = 4096
    solved: float = 40.0
    lessons: int = 1500
    cooling: int = 0
    lesson_rate: float = 4e-3


def solved(model: GPT, n: int, samples: int, seed: int, name: str) -> Tensor:
    """Tell which sampled solutions to n problems are right."""
    problems = bank.draw(n, seed, name)
    chance = torch_rng(seed, "implicit prm", name)
    found = bank.solve(model, problems, samples, TEMPERATURE, chance)
    return found.right.view(n, samples)


def learn_to_solve(model: GPT, settings: Schooling, seed: int) -> list[float]:
    """Let a network learn worked solutions, in place, until it solves some problems;
    return the losses.
    """
    problems = chain_prose.sample(settings.worked, seed, STEPS, ("worked",))
    texts = answered(problems.question, chain_prose.worked(problems))
    adam = optimiser(
        model.parameters(), "adamw", settings.lesson_rate, weight_decay=0.0
    )
    chance = torch_rng(seed, "implicit prm", "lessons")

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(texts), (settings.batch,), generator=chance)
        batch = texts.take(rows)
        return next_token_loss(model(batch.tokens), batch.tokens, batch.counted)

    ended = []

    def lessons() -> Iterator[int]:
        for step in range(settings.lessons):
            if step and step % LOOK == 0:
                right = solved(model, *LOOKED, seed, "school")
                if 100 * right.float().mean() >= settings.solved:
                    break
            yield step
        ended.append(step)
        yield from range(step, step + settings.cooling)

    def factor(step: int) -> float:
        return 1 - (step - ended[0]) / settings.cooling if ended else 1.0

    return fit(loss, lessons(), adam, schedule=factor, clip=1.0)


def train(model: GPT, settings: Schooling, seed: int) -> None:
    """Let a network read prose, then learn to work in steps, in place."""
    reading.read(model, settings, seed)
    learn_to_solve(model, settings, seed)


def make_generator(seed: int) -> GPT:
    """Make the generator of a seed from nothing."""
    with seeded(seed, "chain_gpt"):
        model = reading.make(Schooling())
    train(model, Schooling(), seed)
    return model


def measure(model: GPT, settings: Schooling, seed: int) -> dict[str, float]:
    """Measure how many problems of four operations are solved at temperature 0.8, in
    %, and for how many one of sixteen solutions is right.
    """
    right = solved(model, 500, 16, seed, "measured").float()
    return {
        "solved": 100 * right.mean().item(),
        "solved once in sixteen": 100 * right.amax(1).mean().item(),
    }


RECIPE = Recipe(
    "chain_generator",
    "a small language model that solves problems of four sums modulo 7 now and then",
    "the text of chain_gpt, then worked solutions of two to four sums",
    Schooling(),
    reading.make,
    train,
    measure,
)
