"""Word problems that take several steps, with every intermediate value known.

Somebody starts at a number, and one change follows another; numbers count modulo one
that shares no factor with 2 and 3, so that every change is one-to-one. Hence every
value at every step, the answer's too, is equally likely whatever the changes are: there
is no guessing from their kinds. Sentences about other people are mixed in. A step is
written as "< 7 + 3 = 10 >", as in "SIM-CoT: Supervised Implicit Chain-of-Thought" (Wei
et al. 2026); every number is one token, and so is the answer. Plain problems are told
so that a small network has less to find: every sentence has five words, the number
third, and changes are spelled out, "mia adds three more .", so that no word stands for
both a value and a change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.vocabulary import PAD, Vocabulary, join

SIGNS = ("+", "-", "*")
FACTORS = (2, 3)  # the least and the greatest
PEOPLE = ("mia", "tom", "eva", "sam", "lea", "ben", "ida", "max")
# of N and #; the last of each is new to a model that has read the others, though none
# of its words is
TELLINGS = {
    "start": (
        "N starts at # .",
        "N begins with # .",
        "at first N has # .",
        "N has # at first .",
    ),
    "+": ("N adds # .", "N gets # more .", "N goes up # .", "N adds # more ."),
    "-": ("N loses # .", "N gives # away .", "N goes down # .", "N gives away # ."),
    "*": (
        "N multiplies by # .",
        "N makes it # times .",
        "N has # times that .",
        "N multiplies it # times .",
    ),
    "ask": (
        "what has N ?",
        "where is N now ?",
        "what is left for N ?",
        "what has N now ?",
    ),
}
PLAIN = {  # the same of five words, the number third
    "start": (
        "N has # first .",
        "N owns # first .",
        "N has # before .",
        "N owns # before .",
    ),
    "+": (
        "N adds # more .",
        "N finds # more .",
        "N adds # extra .",
        "N finds # extra .",
    ),
    "-": ("N gives # away .", "N sells # away .", "N sells # off .", "N gives # off ."),
    "*": (
        "N multiplies # fold .",
        "N increases # fold .",
        "N multiplies # times .",
        "N increases # times .",
    ),
    "ask": ("what has N ?", "what owns N ?", "which has N ?", "which owns N ?"),
}
SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPECIAL = (
    "<",
    ">",
    "=",
    *SIGNS,
    "<thought>",
    "</thought>",
    "<pause>",
    "<answer>",
    "<end>",
)
WIDTH = 6  # tokens of the longest telling
NAME, NUMBER = -1, -2  # to be filled in


@cache
def vocabulary(modulus: int = 19, plain: bool = False) -> Vocabulary:
    """Return the words: a number's is its value plus 1, then people, then everything
    else.
    """
    words = [
        word
        for ways in (PLAIN if plain else TELLINGS).values()
        for way in ways
        for word in way.split()
    ]
    others = [word for word in dict.fromkeys(words) if word not in ("N", "#")]
    return Vocabulary(
        [
            *map(str, range(modulus)),
            *PEOPLE,
            *others,
            *SPECIAL,
            *(SPELLED if plain else ()),
        ]
    )


def spell(
    operand: Int[Tensor, "*shape"], modulus: int, plain: bool
) -> Int[Tensor, "*shape"]:
    """Return the tokens of what is added, taken away or multiplied by."""
    return operand + (vocabulary(modulus, plain).number[SPELLED[0]] - 1 if plain else 1)


@dataclass(frozen=True)
class Chains:
    """Problems: what is asked, in tokens with the pads on the left, and how it is
    solved, in numbers.

    `values[:, k]` is what the person asked about has after k steps, `values[:, 0]` at
    the start; `sign` counts SIGNS. Places beyond a problem's own number of `steps` are
    -1.
    """

    question: Int[Tensor, "n length"]
    sign: Int[Tensor, "n most"]
    operand: Int[Tensor, "n most"]
    values: Int[Tensor, "n most+1"]
    steps: Int[Tensor, " n"]
    modulus: int
    plain: bool = False

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def answer(self) -> Int[Tensor, " n"]:
        """What the person asked about has in the end, as a number."""
        return self.values.gather(1, self.steps[:, None])[:, 0]

    @property
    def written(self) -> Int[Tensor, "n most 7"]:
        """Every step in tokens, "< 7 + 3 = 10 >"; nothing but pads for a step that a
        problem does not have.
        """
        words = vocabulary(self.modulus, self.plain)
        left, equals, right = words.encode("< = >")
        signs = words.encode(" ".join(SIGNS))[self.sign]
        before, after = self.values[:, :-1] + 1, self.values[:, 1:] + 1
        change = spell(self.operand, self.modulus, self.plain)
        columns = torch.broadcast_tensors(
            left, before, signs, change, equals, after, right
        )
        return torch.stack(columns, -1) * (self.sign >= 0)[..., None]


def sample(
    n: int,
    seed: int,
    *,
    steps: int | tuple[int, int] = (2, 6),
    distractors: int | tuple[int, int] = (0, 2),
    tellings: str = "familiar",
    modulus: int = 19,
    largest: int = 9,
    plain: bool = False,
    stream: Sequence[str | int] = (),
) -> Chains:
    """Draw problems; problem i takes the same steps however many follow it.

    Args:
        n: how many problems.
        seed: with `stream`, decides everything.
        steps: how many a problem takes, or the fewest and the most, all equally likely.
        distractors: how many sentences about other people, or the fewest and the most;
            they stand anywhere.
        tellings: "familiar" words every sentence in one of three ways, "new" in a
            fourth.
        modulus: numbers are 0 to modulus - 1; above `largest` and 3, and without a
            common factor with 6.
        largest: number that is added or taken away, from 1 to 9; factors are 2 and 3.
        plain: whether all sentences are of `PLAIN`, and changes are spelled out.

    Raises:
        ValueError: an empty range, an unknown kind of tellings, or such a modulus as
            makes some change not one-to-one.
    """
    fewest, most = (steps, steps) if isinstance(steps, int) else steps
    least, others = (
        (distractors, distractors) if isinstance(distractors, int) else distractors
    )
    if n < 1 or not 1 <= fewest <= most or not 0 <= least <= others:
        raise ValueError(
            f"{n=}, {steps=}, {distractors=}: 1 problem of 1 step and 0 distractors are"
            " the least"
        )
    if tellings not in ("familiar", "new"):
        raise ValueError(f"tellings are 'familiar' or 'new', not {tellings!r}")
    if not 1 <= largest <= len(SPELLED):
        raise ValueError(f"{largest=}: numbers to add are at most 1 to {len(SPELLED)}")
    if modulus <= (above := max(largest, *FACTORS)) or math.gcd(modulus, 6) > 1:
        raise ValueError(
            f"the modulus is {modulus}; choose one above {above} that neither 2 nor 3"
            " divides, such as 19"
        )

    def uniform(name: str, *shape: int) -> Float[Tensor, "n ..."]:
        return torch.from_numpy(rng(seed, "chains", *stream, name).random((n, *shape)))

    def between(
        name: str, low: int | Tensor, high: int | Tensor, *shape: int
    ) -> Int[Tensor, "n ..."]:
        return low + (uniform(name, *shape) * (high - low + 1)).long()

    count = between("steps", fewest, most)
    low, high = torch.tensor([(1, largest), (1, largest), FACTORS]).T
    sign = between("sign", 0, len(SIGNS) - 1, most)
    operand = between("operand", low[sign], high[sign], most)
    values = [between("start", 0, modulus - 1)]
    for s, x in zip(sign.unbind(1), operand.unbind(1), strict=True):
        before = values[-1]
        values.append(
            torch.stack([before + x, before - x, before * x])[s, torch.arange(n)]
            % modulus
        )

    # every sentence: the start and the steps of whoever is asked about, then what
    # others do
    who = between("person", 0, len(PEOPLE) - 1, 1)
    kind = between(
        "other kind", 0, len(SIGNS), others
    )  # 0 is a start, 1 and up are SIGNS
    low, high = (
        torch.cat([torch.tensor([end]), ends])
        for end, ends in ((0, low), (modulus - 1, high))
    )
    said = torch.cat([torch.zeros_like(who), 1 + sign, kind], 1)
    number = torch.cat(
        [
            values[0][:, None],
            operand,
            between("other number", low[kind], high[kind], others),
        ],
        1,
    )
    other = (who + between("other person", 1, len(PEOPLE) - 1, others)) % len(PEOPLE)
    person = torch.cat([who.expand(-1, 1 + most), other], 1)

    # when it is said: the first keep their order, the others come anywhere, and what is
    # not there comes never
    own = torch.arange(most + 1) <= count[:, None]
    time = torch.where(own, uniform("time", most + 1), torch.inf).sort(1).values
    among = torch.arange(others) < between("distractors", least, others)[:, None]
    time = torch.cat(
        [time, torch.where(among, uniform("other time", others), torch.inf)], 1
    )
    familiar = len(TELLINGS["ask"]) - 1
    way = (
        between("telling", 0, familiar - 1, most + 1 + others + 1)
        if tellings == "familiar"
        else familiar
    )
    way = torch.as_tensor(way).expand(n, most + 1 + others + 1)

    names = 1 + modulus + torch.cat([person, who], 1)  # the last for the question
    number = torch.where(said == 0, 1 + number, spell(number, modulus, plain))
    templates = _templates(modulus, plain)
    words = (
        _fill(templates[said, way[:, :-1]], names[:, :-1], number)
        * (time < torch.inf)[..., None]
    )
    words = words.gather(
        1, time.argsort(1)[..., None].expand_as(words)
    )  # n sentences WIDTH
    asked = _fill(templates[-1, way[:, -1]], names[:, -1], names[:, -1])
    told = torch.arange(most) < count[:, None]
    return Chains(
        question=join(words.flatten(1), asked, pad="left"),
        sign=sign.where(told, -1),
        operand=operand.where(told, -1),
        values=torch.stack(values, 1).where(own, -1),
        steps=count,
        modulus=modulus,
        plain=plain,
    )


def read(
    tokens: Int[Tensor, "n length"], modulus: int = 19, plain: bool = False
) -> Int[Tensor, " n"]:
    """Return the number right after the first "<answer>" of each row, -1 where there is
    none.
    """
    marked = tokens == vocabulary(modulus, plain).number["<answer>"]
    after = torch.cat([tokens, tokens.new_full((len(tokens), 1), PAD)], 1)[:, 1:]
    token = after.gather(1, marked.int().argmax(1, keepdim=True))[:, 0]
    return torch.where(marked.any(1) & (token >= 1) & (token <= modulus), token - 1, -1)


def _templates(modulus: int, plain: bool) -> Int[Tensor, "kinds tellings WIDTH"]:
    numbers = vocabulary(modulus, plain).number | {"N": NAME, "#": NUMBER}
    tellings = (PLAIN if plain else TELLINGS).values()
    rows = [
        [[numbers[word] for word in telling.split()] for telling in ways]
        for ways in tellings
    ]
    return torch.tensor(
        [[row + [PAD] * (WIDTH - len(row)) for row in ways] for ways in rows]
    )


def _fill(
    template: Int[Tensor, "*sentences WIDTH"],
    name: Int[Tensor, "*sentences"],
    number: Int[Tensor, "*sentences"],
) -> Int[Tensor, "*sentences WIDTH"]:
    filled = template.where(template != NAME, name[..., None])
    return filled.where(template != NUMBER, number[..., None])
