"""Text in which requests are answered, listed or met with "i do not know ."

Most documents have one of five surface forms, "q : what is 3 plus 4 ? a : 7 .", in
which a request is mostly answered. The others separate their pieces by tags, whichever
tag comes, and there a request is mostly followed by another one, or by no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng
from stages.worlds.smalltalk.lexicon import vocabulary
from stages.worlds.smalltalk.requests import (
    FAMILIES,
    all_requests,
    rows_of,
)
from stages.worlds.vocabulary import PAD, join

FORMS = (  # what stands before a request, and before what answers it
    ("q :", "a :"),
    ("somebody asks ,", "somebody says ,"),
    ("quiz -", "key -"),
    ("they wonder ,", "they hear ,"),
    ("-", "answer :"),
)
NO_ANSWERS = (
    "i do not know .",
    "we should ask somebody else .",
    "hard to tell .",
    "maybe later .",
)
LISTED = 3  # requests of a list
OFTEN = dict.fromkeys(("home", "job", "boss"), 2.0)  # facts take the most practice
SELDOM = dict.fromkeys(FAMILIES[8:], 1 / 12)


@dataclass(frozen=True)
class Mixture:
    """What documents there are, in shares.

    Attributes:
        tagged: documents whose pieces are separated by tags.
        forms, tags: in the surface forms, and between tags, how often a request is
            answered, listed with others, or met with no answer.
    """

    tagged: float = 0.2
    forms: tuple[float, float, float] = (0.6, 0.25, 0.15)
    tags: tuple[float, float, float] = (0.1, 0.5, 0.4)


def chat(
    documents: int,
    seed: int,
    *,
    mixture: Mixture = Mixture(),
    scrambled: bool = False,
    stream: Sequence[str | int] = (),
) -> Int[Tensor, " tokens"]:
    """Write documents one after the other, each closed by "<end>".

    Args:
        documents: how many.
        seed, stream: decide everything.
        mixture: shares of what happens.
        scrambled: whether each request is answered as another one of its family is,
            drawn anew each time: then answers look as they do otherwise, and which
            belongs to which request cannot be learnt.
    """
    chance = rng(seed, "smalltalk", "chat", *stream)
    known = all_requests()
    asked = [known.request[draw_requests(documents, chance)] for _ in range(LISTED)]
    first = draw_requests(documents, chance)
    told = first
    if scrambled:
        told = draw_requests(documents, chance, known.family[first].numpy())
    silent = rows_of(NO_ANSWERS)[chance.integers(len(NO_ANSWERS), size=documents)]
    tagged = chance.random(documents) < mixture.tagged
    shares = np.where(tagged[:, None], mixture.tags, mixture.forms).cumsum(1)
    happens = (chance.random((documents, 1)) > shares[:, :2]).sum(1)
    ask, reply = separators(tagged, chance)
    second = choose(
        happens,
        join(reply, known.answer[told]),
        join(ask[1], asked[1], ask[2], asked[2]),
        join(reply, silent),
    )
    end = vocabulary().encode("<end>")
    text = join(ask[0], known.request[first], second, end)
    return text[text != PAD]


def draw_requests(
    n: int, chance: np.random.Generator, family: Int[np.ndarray, " n"] | None = None
) -> Int[Tensor, " n"]:
    """Draw places in the list of all requests.

    Args:
        family: of each request; drawn too by default, the rare ones rarely.
    """
    if family is None:
        weight = np.array([(OFTEN | SELDOM).get(name, 1.0) for name in FAMILIES])
        family = chance.choice(len(FAMILIES), size=n, p=weight / weight.sum())
    count = torch.bincount(all_requests().family, minlength=len(FAMILIES)).numpy()
    start = count.cumsum() - count
    return torch.from_numpy(start[family] + chance.integers(count[family]))


def separators(
    tagged: Bool[np.ndarray, " n"], chance: np.random.Generator
) -> tuple[list[Int[Tensor, "n words"]], Int[Tensor, "n words"]]:
    """Draw what stands before each of the requests that a document may have, and before
    what answers the first.
    """
    n = len(tagged)
    form = chance.integers(len(FORMS), size=n)

    def one(side: int) -> Int[Tensor, "n words"]:
        words = rows_of([pair[side] for pair in FORMS])[form]
        tag = vocabulary().encode("<user> <assistant>")[chance.integers(2, size=(n, 1))]
        return choose(tagged.astype(int), words, tag)

    return [one(0) for _ in range(LISTED)], one(1)


def choose(
    which: Int[np.ndarray, " n"], *options: Int[Tensor, "n length"]
) -> Int[Tensor, "n length"]:
    """Take each row from one of the options; pads on the right make them equally
    long.
    """
    width = max(option.shape[1] for option in options)
    rows = torch.stack([F.pad(x, (0, width - x.shape[1])) for x in options])
    return rows[torch.from_numpy(which), torch.arange(len(which))]
