"""The generator: a small language model that learns worked solutions from nothing, and
is stopped while it still gets many sums wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.models import GPT, seeded
from stages.papers.post_training.implicit_prm import bank
from stages.seeding import torch_rng
from stages.training import fit, next_token_loss, optimiser
from stages.training.diffusion import average
from stages.worlds import chain_prose
from stages.worlds.vocabulary import answered
from stages.zoo.recipe import Recipe

NAME = "chain_generator"
STEPS = (2, 3)  # of the worked solutions: the fewest and the most
TEMPERATURE = 0.8
FIRST = 200  # updates before the first look at what is solved
FAR, NEAR = 20, 5  # updates between two looks, NEAR once half of the goal is reached
LOOKED = (120, 4)  # problems and solutions of a look


@dataclass(frozen=True)
class Schooling:
    """A network, and how it learns to work in steps.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        worked: solutions that it learns from.
        solved: share in % of validation problems at which lessons end; seeds learn at
            different times, and all shall solve about as much.
        lessons: updates, at most.
        batch: solutions of an update.
        rate: of Adam.
        keep: the generator is the running mean of the network's parameters; each
            update keeps this share of it.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 96
    worked: int = 4096
    solved: float = 45.0
    lessons: int = 1500
    batch: int = 32
    rate: float = 1e-3
    keep: float = 0.95


def make(settings: Schooling) -> GPT:
    """Make a network, from torch's own stream."""
    return GPT(
        len(bank.WORDS),
        settings.width,
        settings.depth,
        settings.heads,
        settings.length,
    )


def solved(model: GPT, n: int, samples: int, seed: int, name: str) -> Tensor:
    """Tell which sampled solutions to n problems are right."""
    problems = bank.draw(n, seed, name)
    chance = torch_rng(seed, "implicit prm", name)
    found = bank.solve(model, problems, samples, TEMPERATURE, chance)
    return found.right.view(n, samples)


def train(model: GPT, settings: Schooling, seed: int) -> list[float]:
    """Let a network learn worked solutions, in place, until its running mean solves
    some problems; make it that mean, and return the losses.
    """
    problems = chain_prose.sample(settings.worked, seed, STEPS, ("worked",))
    texts = answered(problems.question, chain_prose.worked(problems))
    adam = optimiser(model.parameters(), "adamw", settings.rate, weight_decay=0.0)
    chance = torch_rng(seed, "implicit prm", "lessons")
    mean = average(model, settings.keep)

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(texts), (settings.batch,), generator=chance)
        batch = texts.take(rows)
        return next_token_loss(model(batch.tokens), batch.tokens, batch.counted)

    def lessons() -> Iterator[int]:
        between = FAR
        for step in range(settings.lessons):
            if step >= FIRST and step % between == 0:
                right = solved(mean.module, *LOOKED, seed, "school")
                share = 100 * right.float().mean().item() / settings.solved
                if share >= 1:
                    break
                between = NEAR if share >= 1 / 2 else FAR
            yield step

    losses = fit(
        loss,
        lessons(),
        adam,
        clip=1.0,
        after_step=lambda step: mean.update_parameters(model),
    )
    model.load_state_dict(mean.module.state_dict())
    return losses


def make_generator(seed: int) -> GPT:
    """Make the generator of a seed from nothing."""
    with seeded(seed, NAME):
        model = make(Schooling())
    train(model, Schooling(), seed)
    return model


def measure(model: GPT, settings: Schooling, seed: int) -> dict[str, float]:
    """Measure how many problems of three operations are solved at temperature 0.8, in
    %, and for how many one of sixteen solutions is right.
    """
    right = solved(model, 500, 16, seed, "measured").float()
    return {
        "solved": 100 * right.mean().item(),
        "solved once in sixteen": 100 * right.amax(1).mean().item(),
    }


RECIPE = Recipe(
    NAME,
    "a small language model that solves problems of three sums modulo 7 now and then",
    "worked solutions of two or three sums",
    Schooling(),
    make,
    train,
    measure,
)
