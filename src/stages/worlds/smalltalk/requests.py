"""All requests of the village and their right answers, in eleven families.

There are so few that they are listed once: to draw requests is to draw places in the
list. Each request is told in two ways, and has one right answer, which never repeats
it: "what is 3 plus 4 ?" and "add 3 and 4 ." ask for "7 .".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise, permutations, product

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng
from stages.worlds.smalltalk.lexicon import (
    HOMES,
    JOBS,
    KINDS,
    NUMBERS,
    OPPOSITES,
    PEOPLE,
    QUALITIES,
    VALUES,
    vocabulary,
)
from stages.worlds.vocabulary import PAD, join

# of the words that fill A, B and X; the last is the answer
TELLINGS = {
    "home": ("where does A live ?", "tell me the home of A .", "in the X ."),
    "job": ("what is the job of A ?", "name the job of A .", "a X ."),
    "boss": ("who is the boss of A ?", "name the boss of A .", "that is X ."),
    "kind": ("what is A ?", "tell me the kind of A .", "a kind of X ."),
    "opposite": ("what is the opposite of A ?", "give the opposite of A .", "X ."),
    "larger": ("which is larger , A or B ?", "give the larger of A and B .", "X ."),
    "sum": ("what is A plus B ?", "add A and B .", "X ."),
    "next": ("what comes after A ?", "give me what comes after A .", "X ."),
    "opposites": (
        "what are the opposites of A and B ?",
        "give the opposites of A and B .",
        "X and Y .",
    ),
    "gap": ("what is the gap between A and B ?", "give the gap of A and B .", "X ."),
    "smaller": ("which is smaller , A or B ?", "give the smaller of A and B .", "X ."),
}
FAMILIES = tuple(TELLINGS)
USUAL = FAMILIES[:8]  # the other three are rare in text


@dataclass(frozen=True)
class Requests:
    """Requests and their right answers, as tokens with pads on the right.

    Attributes:
        family: place in `FAMILIES`.
        subject: the same number for two tellings of one question, and for no others.
    """

    request: Int[Tensor, "n asked"]
    answer: Int[Tensor, "n told"]
    family: Int[Tensor, " n"]
    subject: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.family)

    def take(self, rows: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Requests":
        """Return some of them."""
        return Requests(
            self.request[rows], self.answer[rows], self.family[rows], self.subject[rows]
        )

    def of(self, *families: str) -> "Requests":
        """Return those of some families. Raises ValueError if there is none such."""
        if unknown := set(families) - set(FAMILIES):
            raise ValueError(
                f"no family {min(unknown)!r} of requests; choose {', '.join(FAMILIES)}"
            )
        wanted = torch.tensor([FAMILIES.index(name) for name in families])
        return self.take(torch.isin(self.family, wanted))

    @cached_property
    def values(self) -> Int[Tensor, "n told"]:
        """The answers without their wording, pads on the right."""
        return values_of(self.answer)


def everyone_has(what: str, choices: tuple[str, ...]) -> dict[str, str]:
    """Draw a fact about each person; choices are about equally frequent.

    Nobody is their own boss.
    """
    order = rng(0, "smalltalk", what).permutation(len(PEOPLE))
    if choices is PEOPLE:  # along one circle of all
        circle = [PEOPLE[i] for i in order]
        return dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return {
        person: choices[i % len(choices)]
        for person, i in zip(PEOPLE, order, strict=True)
    }


def facts() -> dict[str, dict[tuple[str, ...], tuple[str, ...]]]:
    """Return, of each family, the right answers by what is asked about."""
    home, job, boss = (
        everyone_has(what, choices)
        for what, choices in (("home", HOMES), ("job", JOBS), ("boss", PEOPLE))
    )
    kind = {thing: kind for kind, things in KINDS.items() for thing in things}
    opposite = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
    pairs = list(product(range(len(NUMBERS)), repeat=2))
    unlike = [(a, b) for a, b in pairs if a != b]

    def single(table: dict[str, str]) -> dict[tuple[str, ...], tuple[str, ...]]:
        return {(key,): (value,) for key, value in table.items()}

    def counted(rows: list, answer) -> dict[tuple[str, ...], tuple[str, ...]]:
        return {(str(a), str(b)): (str(answer(a, b)),) for a, b in rows}

    return {
        "home": single(home),
        "job": single(job),
        "boss": single(boss),
        "kind": single(kind),
        "opposite": single(opposite),
        "larger": counted(unlike, max),
        "sum": counted([(a, b) for a, b in pairs if a + b < len(NUMBERS)], int.__add__),
        "next": {(a,): (b,) for a, b in pairwise(NUMBERS)},
        "opposites": {
            (a, b): (opposite[a], opposite[b])
            for a, b in permutations(QUALITIES, 2)
            if opposite[a] != b
        },
        "gap": counted(unlike, lambda a, b: abs(a - b)),
        "smaller": counted(unlike, min),
    }


@cache
def all_requests() -> Requests:
    """List all requests, in both tellings."""
    asked, told, family, subject = [], [], [], []
    number = 0
    for name, table in facts().items():
        *ways, answer = TELLINGS[name]
        for about, value in table.items():
            words = dict(zip("AB", about, strict=False)) | dict(
                zip("XY", value, strict=False)
            )
            for way in ways:
                asked.append(" ".join(words.get(word, word) for word in way.split()))
                told.append(" ".join(words.get(word, word) for word in answer.split()))
                family.append(FAMILIES.index(name))
                subject.append(number)
            number += 1
    return Requests(
        rows_of(asked), rows_of(told), torch.tensor(family), torch.tensor(subject)
    )


def rows_of(texts: Sequence[str]) -> Int[Tensor, "n length"]:
    """Encode texts as rows of tokens, pads on the right."""
    rows = [vocabulary().encode(text) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def until_end(written: Int[Tensor, "n length"]) -> Int[Tensor, "n length"]:
    """Blank what comes after the first "<end>" of each row, and that itself."""
    ended = (written == vocabulary().number["<end>"]).cumsum(1) > 0
    return written.masked_fill(ended, PAD)


def values_of(written: Int[Tensor, "n length"]) -> Int[Tensor, "n length"]:
    """Keep of each row the words that answers consist of, in front; see `VALUES`."""
    kept = written.where((written >= 1) & (written <= len(VALUES)), PAD)
    return F.pad(values := join(kept), (0, kept.shape[1] - values.shape[1]))


def follows(requests: Requests, written: Int[Tensor, "n length"]) -> Bool[Tensor, " n"]:
    """Tell which responses are the right answer, word for word, and end."""
    ended = (written == vocabulary().number["<end>"]).any(1)
    return ended & same(until_end(written), requests.answer)


def means_right(
    requests: Requests, written: Int[Tensor, "n length"]
) -> Bool[Tensor, " n"]:
    """Tell which responses have the right values in the right order and no others,
    whatever their wording and whether they end or not: a lenient reading.
    """
    return same(values_of(until_end(written)), requests.values)


def same(
    some: Int[Tensor, "n length"], others: Int[Tensor, "n other"]
) -> Bool[Tensor, " n"]:
    """Tell which rows are the same but for pads on the right."""
    width = max(some.shape[1], others.shape[1])
    some, others = (F.pad(x, (0, width - x.shape[1])) for x in (some, others))
    return (some == others).all(1)
