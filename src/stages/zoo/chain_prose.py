"""A small language model that has read prose about chains of sums modulo 7, and drills.

It knows sums of one operation in signs, "3 + two = 5 .", and it has read stories in
which several changes follow one another, but how these are solved it was seldom told.
It has never seen a scratch pad. `post_training` papers start from here, with seeds of
their own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Generator, Tensor, nn

from stages.models import GPT
from stages.seeding import torch_rng
from stages.training import cosine
from stages.training.reading import Texts, read_texts
from stages.worlds import chain_prose
from stages.worlds.vocabulary import PAD
from stages.zoo.recipe import Recipe

EVERY = 4  # updates, of which one is on drills
LOOK, LOOKED = 100, 100  # updates between two looks, and rows of one
NUMBER = 2  # where "mia has 5 ." has its number


@dataclass(frozen=True)
class Reading:
    """A network, and how it reads.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        rows: of drills, and texts, from which updates draw.
        between: share of the texts that tell values between.
        known: what is to be known, in %, before it goes on: sums of one operation after
            drills, then the answer after one change, told in prose. While a network
            cannot do one operation, answers to several are only noise to it.
        drilled, updates: on drills, then on prose and drills, at most.
        cooling: updates after that, in which the rate falls.
        batch, drills: texts of an update, rows of drills of one.
        rate, warmup: of AdamW, and the updates in which it rises.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 96
    rows: int = 20_000
    between: float = 0.5
    drilled: int = 4000
    updates: int = 3000
    cooling: int = 300
    known: float = 95.0
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
    drills = chain_prose.drills(settings.rows, seed)
    texts = chain_prose.documents(settings.rows, seed, settings.between)
    chance = torch_rng(seed, "chain prose", "batches")

    def drill(step: int) -> Texts:
        return some(drills, settings.drills, chance)

    def mix(step: int) -> Texts:
        return drill(step) if step % EVERY == 0 else some(texts, settings.batch, chance)

    def rises(step: int) -> float:
        return min(1.0, (step + 1) / settings.warmup)

    def sums_known() -> bool:
        return sums(model, LOOKED, seed) >= settings.known

    def change_known() -> bool:
        return tells(model, 1, LOOKED, seed) >= settings.known

    falls = cosine(settings.cooling, settings.warmup)
    rate = settings.rate
    return (
        read_texts(model, drill, until(sums_known, settings.drilled), rate, rises)
        + read_texts(model, mix, until(change_known, settings.updates), rate, rises)
        + read_texts(model, mix, settings.cooling, rate, falls)
    )


def some(rows: Int[Tensor, "n length"], size: int, chance: Generator) -> Texts:
    """Draw rows with replacement, without columns of pads; pads do not count."""
    tokens = rows[torch.randint(len(rows), (size,), generator=chance)]
    tokens = tokens[:, : int((tokens != PAD).sum(1).max())]
    return tokens, tokens != PAD


def until(known: Callable[[], bool], most: int) -> Iterator[int]:
    """Count updates until something is known, which is looked at now and then."""
    for step in range(most):
        if step % LOOK == LOOK - 1 and known():
            return
        yield step


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
