"""Text with three kinds of positions, and thoughts about them.

"mia has 3 first . mia adds two more . mia has 5 .": the last value can be computed from
what stands before it, though not at a glance; full stops and names at the beginning of
a sentence follow from the pattern; first values and amounts are drawn at random, and
nobody can know them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from stages.seeding import torch_rng
from stages.worlds import chain_prose
from stages.worlds.chain_prose import ASK, SENTENCE
from stages.worlds.chains import Chains
from stages.worlds.vocabulary import PAD, join

MODULUS = chain_prose.WORLD["modulus"]
STEPS = (1, 3)  # operations of a document
KINDS = ("computable", "template", "noise")
SHARES = (0.6, 0.2, 0.2)  # of the positions that are asked about
REPEATED = 0.6  # how often a step of a thought is written twice
WORDS = chain_prose.vocabulary()
THINK, THOUGHT, END = (
    WORDS.number[mark] for mark in ("<thought>", "</thought>", "<end>")
)


def draw(n: int, seed: int, *stream: str | int) -> Chains:
    """Draw what documents tell."""
    return chain_prose.sample(n, seed, STEPS, stream)


def documents(told: Chains) -> Int[Tensor, "n length"]:
    """Write documents, pads on the right; the last sentence gives the last value."""
    name = told.question[:, -2:-1]
    has, stop = WORDS.encode("has .")
    last = [name, has.expand_as(name), told.answer[:, None] + 1, stop.expand_as(name)]
    return join(told.question[:, :-ASK], torch.cat(last, 1))


@dataclass(frozen=True)
class Positions:
    """Places in documents, each to be predicted from what stands before it.

    Attributes:
        document: the whole, pads on the right.
        place: of the token.
        kind: which of `KINDS` it is of.
        told: what the documents tell.
    """

    document: Int[Tensor, "n length"]
    place: Int[Tensor, " n"]
    kind: Int[Tensor, " n"]
    told: Chains

    def __len__(self) -> int:
        return len(self.place)

    @property
    def target(self) -> Int[Tensor, " n"]:
        """The token that stands there."""
        return self.document.gather(1, self.place[:, None])[:, 0]

    @property
    def prefix(self) -> Int[Tensor, "n before"]:
        """What stands before it, pads on the left."""
        before = torch.arange(self.document.shape[1]) < self.place[:, None]
        return join(self.document.where(before, PAD), pad="left")

    def take(self, rows: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Positions":
        """Return some of them."""
        told = Chains(
            *(
                getattr(self.told, name)[rows]
                for name in ("question", "sign", "operand", "values", "steps")
            ),
            self.told.modulus,
            self.told.plain,
        )
        return Positions(self.document[rows], self.place[rows], self.kind[rows], told)


def positions(
    n: int, seed: int, *stream: str | int, kind: str | None = None
) -> Positions:
    """Draw documents, and a position in each.

    Args:
        n, seed, stream: how many, and what decides them.
        kind: of all positions; by default they are of all kinds, in `SHARES`.
    """
    told = draw(n, seed, *stream)
    chance = torch_rng(seed, "positions", *stream)
    drawn = torch.multinomial(
        torch.tensor(SHARES), n, replacement=True, generator=chance
    )
    kinds = drawn if kind is None else torch.full((n,), KINDS.index(kind))
    which = (torch.rand(n, generator=chance) * (told.steps + 1)).long()
    stop = torch.rand(n, generator=chance) < 0.5
    last = SENTENCE * (told.steps + 1)
    # a full stop, or the name that begins the next sentence
    pattern = SENTENCE * (which + 1) - stop.long()
    options = torch.stack([last + 2, pattern, SENTENCE * which + 2])
    place = options[kinds, torch.arange(n)]
    return Positions(documents(told), place, kinds, told)


def thoughts(
    told: Chains,
    seed: int,
    *stream: str | int,
    kept: Int[Tensor, " n"] | None = None,
) -> Int[Tensor, "n length"]:
    """Write thoughts: the first value, then of each step the operation, the amount and
    what comes out; a step may be written twice. Pads on the right.

    Args:
        kept: how many steps are written; by default all of them.
    """
    chance = torch_rng(seed, "thoughts", *stream)
    kept = told.steps if kept is None else kept
    written = told.written[:, :, [2, 3, 5]]  # of "< 7 + 3 = 10 >"
    here = torch.arange(written.shape[1]) < kept[:, None]
    written = written * here[..., None]
    twice = torch.rand(here.shape, generator=chance) < REPEATED
    both = torch.stack([written, written * twice[..., None]], 2)
    return join(told.values[:, :1] + 1, both.flatten(1))


def think(
    prompts: Int[Tensor, "n asked"],
    thought: Int[Tensor, "n length"],
    answer: Int[Tensor, " n"],
) -> tuple[Int[Tensor, "n all"], Int[Tensor, "n told"]]:
    """Close prompts with "<thought>"; return them with what is to be written after it:
    the thought, "</thought>", the answer, "<end>".
    """
    mark = torch.full_like(answer[:, None], THINK)
    closed = torch.full_like(mark, THOUGHT)
    end = torch.full_like(mark, END)
    written = join(thought, closed, answer[:, None], end)
    return join(prompts, mark, pad="left"), written


@dataclass(frozen=True)
class Said:
    """What was written after "<thought>".

    Attributes:
        answer: the token after "</thought>", PAD where there is none.
        length: tokens of the thought; of all that was written, if it never ends.
    """

    answer: Int[Tensor, " n"]
    length: Int[Tensor, " n"]


def read(written: Int[Tensor, "n length"]) -> Said:
    """Find the thought and the answer in what a model wrote."""
    closing = written == THOUGHT
    ended = closing.any(1)
    length = torch.where(ended, closing.int().argmax(1), written.shape[1])
    after = torch.cat([written, torch.full_like(written[:, :1], PAD)], 1)
    answer = after.gather(1, (length + 1).clamp(max=written.shape[1])[:, None])[:, 0]
    return Said(answer.where(ended, PAD), length)
