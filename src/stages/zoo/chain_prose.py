"""A small language model that has read prose about chains of sums modulo 7, and drills.

It knows sums of one operation in signs, "3 + two = 5 .", and it has read stories in
which several changes follow one another, but how these are solved it was seldom told.
It has never seen a scratch pad. `post_training` papers start from here, with seeds of
their own.
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

EVERY = 4  # updates, of which one is on drills
NUMBER = 2  # where "mia has 5 ." has its number


@dataclass(frozen=True)
class Reading:
    """A network, and how it reads.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        rows: of drills, and texts, from which updates draw.
        drilled: the first updates, on drills alone: while a network cannot do one
            operation, answers to several are only noise to it.
        updates: all of them; after the first, every fourth is on drills.
        batch, drills: texts of an update, rows of drills of one.
        rate, warmup: of AdamW under a cosine.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 96
    rows: int = 20_000
    drilled: int = 1300
    updates: int = 2200
    batch: int = 32
    drills: int = 16
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
    drills = chain_prose.drills(settings.rows, seed).to(device)
    texts = chain_prose.documents(settings.rows, seed).to(device)
    adam = optimiser(model.parameters(), "adamw", settings.rate, weight_decay=0.01)
    chance = torch_rng(seed, "chain prose", "batches")

    def loss(step: int) -> Tensor:
        drill = step < settings.drilled or step % EVERY == 0
        rows, size = (drills, settings.drills) if drill else (texts, settings.batch)
        tokens = rows[torch.randint(len(rows), (size,), generator=chance)]
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


@torch.no_grad()
def sums(model: GPT, n: int, seed: int) -> float:
    """Return in % how many sums of one operation a model completes, within rows of
    drills, the first of a row apart.
    """
    rows = chain_prose.drills(n, seed, stream=("asked",))
    rows = rows.to(next(model.parameters()).device)
    asked = rows[:, :-1] == chain_prose.vocabulary().number["="]
    asked[:, : chain_prose.SUM] = False
    right = model(rows)[:, :-1].argmax(-1) == rows[:, 1:]
    return 100 * right[asked].float().mean().item()


def measure(model: GPT, settings: Reading, seed: int) -> dict[str, float]:
    """Measure how many sums, and how many questions about one to four changes, are
    answered right, in %.
    """
    found = {"sums of one operation": sums(model, 200, seed)}
    for changes in range(1, chain_prose.MOST + 1):
        name = f"answered at once, {changes} change{'s' * (changes > 1)}"
        found[name] = tells(model, changes, 1000, seed)
    return found


RECIPE = Recipe(
    "chain_gpt",
    "a small language model that has read sums modulo 7, and prose about chains",
    "texts about one to four changes, a question and its answer in words; sums of one"
    " operation in signs",
    Reading(),
    make,
    read,
    measure,
)
