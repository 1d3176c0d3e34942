"""The two ledgers of a toy shop: twelve tasks, in pairs that agree about most toys.

Sixty-four toys have a colour, a place, a maker, a material, a price and a date. Each of
these six columns is in two ledgers, this year's and last year's, and the two differ for
13 of the toys. A task asks for one column of one ledger. Nothing says which but the
demonstrations, "Q crow A red ; Q pear A green ; Q moth A": the first tells the column,
and the ledger is told only by toys whose entry changed. Hence the chance of an answer,
given the demonstrations, is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import torch_rng
from stages.worlds.vocabulary import Vocabulary

_TOYS = """\
ant apple axe banana bean bear bee beetle belt bike boat boot car carrot cat
chisel coat cricket crow dog drill duck eagle fig flea glove gnat goat hammer
hat hen horse leek lemon lion melon moth olive onion owl pea pear pig plane
plum pumpkin rabbit rake robin saw ship shirt skirt sock spade spanner stork
swan train tram turnip van wasp yam
"""
TOYS = tuple(_TOYS.split())
COLUMNS = {  # entries of both ledgers; of this year's alone; of last year's alone
    "colour": (
        "red orange yellow green blue purple black white",
        "pink gold teal lilac",
        "grey brown silver violet",
    ),
    "place": (
        "attic cellar counter drawer garden shelf stairs window",
        "crate hook loft porch",
        "bench chest hall yard",
    ),
    "maker": (
        "Ada Ben Cleo Dan Eve Finn Gus Hal",
        "Ida Jon Kit Leo",
        "Mia Ned Oda Pit",
    ),
    "material": (
        "clay cloth glass iron paper stone wax wood",
        "brass cork felt resin",
        "bone lead straw tin",
    ),
    "price": (
        "one two three four five six seven eight",
        "twelve thirteen fourteen fifteen",
        "nine ten eleven twenty",
    ),
    "date": (
        "January March April May June July August October",
        "Monday Tuesday Thursday Friday",
        "Easter Lent Advent Christmas",
    ),
}
TASKS = tuple(task for column in COLUMNS for task in (column, f"last year's {column}"))
CHANGED = 13  # toys of a column whose entry is another one this year
SPLITS = {  # toys of a task: those whose entry changed, and the others
    "train": (4, 36),
    "validation": (2, 12),
    "test": (7, 3),
}
PAIR = 5  # tokens: "Q x A y ;"


@cache
def vocabulary() -> Vocabulary:
    """Return the words: a toy's number is its place in TOYS plus 1."""
    entries = " ".join(words for column in COLUMNS.values() for words in column)
    return Vocabulary([*TOYS, *entries.split(), *"QA;"])


def twin(task: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return the task about the same column of the other ledger."""
    return task ^ 1


@dataclass(frozen=True)
class Facts:
    """What stands in the ledgers of one world: the answers, as tokens."""

    table: Int[Tensor, "tasks toys"]

    @cached_property
    def changed(self) -> Bool[Tensor, "tasks toys"]:
        """For which toys a task and its twin have different answers."""
        return self.table != self.table[twin(torch.arange(len(TASKS)))]

    def written(
        self,
        task: Int[Tensor, " n"],
        toys: Int[Tensor, "n pairs"],
        labels: Int[Tensor, "n pairs"] | None = None,
    ) -> Int[Tensor, "n length"]:
        """Write rows "Q x A y ; Q x A y ; ...", each of one task.

        Args:
            labels: toys whose answers are written, if not those asked about.
        """
        labels = toys if labels is None else labels
        answers = self.table[task[:, None], labels]
        q, a, end = (mark.expand_as(toys) for mark in vocabulary().encode("Q A ;"))
        return rearrange(
            [q, toys + 1, a, answers, end], "tokens n pairs -> n (pairs tokens)"
        )

    def predict(
        self,
        toys: Int[Tensor, "n pairs"],
        answers: Int[Tensor, "n shots"],
        prior: Float[Tensor, " tasks"],
    ) -> Float[Tensor, "n vocabulary"]:
        """Return the chance of each token to answer the last toy, given the answers to
        all before it. No reader of the demonstrations can know more.
        """
        said = self.table[:, toys[:, :-1]] == answers  # tasks, n, shots
        weight = prior.double()[:, None] * said.all(-1)
        chance = weight.new_zeros(len(toys), len(vocabulary()))
        chance.scatter_add_(1, self.table[:, toys[:, -1]].T, weight.T)
        return chance / weight.sum(0)[:, None]


def even() -> Float[Tensor, " tasks"]:
    """Return the prior under which all tasks are as frequent."""
    return torch.full((len(TASKS),), 1 / len(TASKS))


def invent(seed: int) -> Facts:
    """Draw a world's ledgers: in each column the entries of a kind are about as
    frequent as one another.
    """
    chance = torch_rng(seed, "ledgers", "facts")
    rows = []
    for column in COLUMNS.values():
        both, new, old = (vocabulary().encode(words) for words in column)
        order = torch.randperm(len(TOYS), generator=chance)
        now = both[order % len(both)]
        before = now.clone()
        changed = torch.randperm(len(TOYS), generator=chance)[:CHANGED]
        now[changed] = new[torch.arange(CHANGED) % len(new)]
        mixed = torch.randperm(CHANGED, generator=chance)
        before[changed] = old[mixed % len(old)]
        rows += [now, before]
    return Facts(torch.stack(rows))


def divided(facts: Facts, seed: int) -> dict[str, Int[Tensor, "tasks toys"]]:
    """Divide the toys of each task, at random; a task and its twin share the parts.

    A tenth of the training toys have changed, and seven of the ten in the test: see
    SPLITS.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in SPLITS}
    for task, changed in enumerate(facts.changed):
        order = torch.randperm(
            len(TOYS), generator=torch_rng(seed, "ledgers", "split", task // 2)
        )
        groups = order[changed[order]], order[~changed[order]]
        starts = [0, 0]
        for name, sizes in SPLITS.items():
            both = [
                group[start : start + size]
                for group, start, size in zip(groups, starts, sizes, strict=True)
            ]
            starts = [start + size for start, size in zip(starts, sizes, strict=True)]
            parts[name].append(torch.cat(both))
    return {name: torch.stack(rows) for name, rows in parts.items()}


def documents(
    facts: Facts,
    n: int,
    seed: int,
    *,
    pairs: int,
    prior: Float[Tensor, " tasks"],
    stream: Sequence[str | int] = (),
) -> Int[Tensor, "n length"]:
    """Draw documents to pre-train on, each so many questions and answers of one task
    about different toys. The k-th answer of a document is one after k - 1
    demonstrations.

    Raises:
        ValueError: a prior of another shape, or more pairs than toys.
    """
    if prior.shape != (len(TASKS),) or not 1 <= pairs <= len(TOYS):
        raise ValueError(
            f"{pairs=} and a prior of {tuple(prior.shape)}: give 1 to {len(TOYS)} of"
            f" them, and {len(TASKS)} frequencies"
        )
    chance = torch_rng(seed, "ledgers", "documents", *stream)
    task = torch.multinomial(prior, n, replacement=True, generator=chance)
    toys = torch.rand(n, len(TOYS), generator=chance).argsort(1)[:, :pairs]
    return facts.written(task, toys)
