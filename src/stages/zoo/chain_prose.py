"""A small language model that has read prose about chains of sums modulo 7.

It knows what one change does, and not what two do: their values between are seldom
told. It has never seen a scratch pad. `post_training` papers start from here, with
seeds of their own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.models import GPT
from stages.seeding import torch_rng
from stages.training import cosine, fit, next_token_loss, optimiser
from stages.worlds import chain_prose
from stages.worlds.vocabulary import PAD
from stages.zoo.recipe import Recipe

NUMBER = 2  # where "mia has 5 ." has its number


@dataclass(frozen=True)
class Reading:
    """A network, and how it reads.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        texts: of drills alone, and of the mixture, from which batches are drawn.
        drilled: the first updates, on drills alone: while a network cannot do one
            change, answers to several are only noise to it.
        updates: all of them.
        batch: texts of an update.
        rate, warmup: of AdamW under a cosine.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 96
    texts: int = 40_000
    drilled: int = 1500
    updates: int = 2400
    batch: int = 32
    rate: float = 4e-3
    warmup: int = 50


def make(settings: Reading) -> GPT:
    """Make a network, from torch's own stream."""
    return GPT(
        len(chain_prose.vocabulary()),
        settings.width,
        settings.depth,
        settings.heads,
        settings.length,
    )


def read(model: nn.Module, settings: Reading, seed: int) -> list[float]:
    """Train a network in place to predict the next token of whole texts; return the
    losses.
    """
    device = next(model.parameters()).device
    drills = chain_prose.documents(settings.texts, seed, 1.0, ("drilled",)).to(device)
    mixed = chain_prose.documents(settings.texts, seed).to(device)
    adam = optimiser(model.parameters(), "adamw", settings.rate, weight_decay=0.01)
    chance = torch_rng(seed, "chain prose", "batches")

    def loss(step: int) -> Tensor:
        texts = drills if step < settings.drilled else mixed
        tokens = texts[torch.randint(len(texts), (settings.batch,), generator=chance)]
        tokens = tokens[:, : int((tokens != PAD).sum(1).max())]
        return next_token_loss(model(tokens), tokens, tokens != PAD)

    schedule = cosine(settings.updates, settings.warmup)
    return fit(loss, settings.updates, adam, schedule=schedule, clip=1.0)


def tells(model: GPT, changes: int, n: int, seed: int) -> float:
    """Return in % how many questions a model answers right at once, in words."""
    asked = chain_prose.sample(n, seed, changes, ("chain prose", "asked"))
    prompts = asked.question.to(next(model.parameters()).device)
    said = model.generate(prompts, NUMBER + 1, mask=prompts != PAD).cpu()
    return 100 * (said[:, NUMBER] - 1 == asked.answer).float().mean().item()


def measure(model: GPT, settings: Reading, seed: int) -> dict[str, float]:
    """Measure how many questions about one to four changes are answered, in %."""
    return {
        f"answered at once, {changes} change{'s' * (changes > 1)}": tells(
            model, changes, 1000, seed
        )
        for changes in range(1, chain_prose.MOST + 1)
    }


RECIPE = Recipe(
    "chain_gpt",
    "a small language model that has read prose about chains of sums modulo 7",
    "texts about one to four changes, a question and its answer in words; drills of"
    " one change first",
    Reading(),
    make,
    read,
    measure,
)
