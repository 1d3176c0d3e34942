"""Four ways to write a sum, and the loss on what follows it (Lee et al. 2024).

128+367 is written::

  plain      128+367=0495
  reverse    128+367=5940
  simplified Input:\\n128+367\\nTarget:\\nA->5 , C->1\\nA->9 , C->0\\nA->4 , C->0.\\n495
  detailed   Input:\\n128+367\\nTarget:\\n<scratch>\\n[1,2,8] has 3 digits.\\n
             [3,6,7] has 3 digits.\\n
             [1,2,8] + [3,6,7] , A=[] , C=0 , 8+7+0=15 , A->5 , C->1\\n
             ... and so for every digit ...
             [] + [] , A=[4,9,5] C=0 , END\\n</scratch>\\n4 9 5

Plain and reverse write numbers as long as they come, with zeros in front; so every
digit has its place. Scratchpads leave such zeros out.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stages.training import next_token_loss
from stages.worlds.arithmetic import Lines, Problems, vocabulary

Digits = Sequence[int]  # of a number, the lowest first
Written = tuple[str, str]  # what a network is given, and what it has to write
Format = Callable[[Digits, Digits, int], Written]


def add(a: Digits, b: Digits, base: int) -> tuple[list[int], list[int]]:
    """Add two numbers of one length by hand, the lowest digits first.

    Returns:
        The digits of the sum, one more than the numbers have, and the carry out of each
        of theirs.
    """
    digits = []
    carries = [0]
    for x, y in zip(a, b, strict=True):
        total = x + y + carries[-1]
        digits.append(total % base)  # eq. 1
        carries.append(total // base)  # eq. 2
    return [*digits, carries[-1]], carries[1:]


def seen_carry(a: int, b: int, s: int, base: int) -> int:
    """Return the carry out of a place, told from its digits alone: those of the
    numbers, and that of their sum, which reverse has written already.
    """
    return int(s < a or (s == a and b == base - 1))  # eq. 3


# ----------------------------------------------------------------------------- formats


def plain(a: Digits, b: Digits, base: int) -> Written:
    """Write the highest digit of the sum first, as people do."""
    s, _ = add(a, b, base)
    return f"{number(a)}+{number(b)}=", number(s) + "\n"


def reverse(a: Digits, b: Digits, base: int) -> Written:
    """Write the lowest digit of the sum first; a and b stay as they are."""
    s, _ = add(a, b, base)
    return f"{number(a)}+{number(b)}=", number(s[::-1]) + "\n"


def simplified(a: Digits, b: Digits, base: int) -> Written:
    """Write digit (A) and carry (C) of every place, from the lowest, then the sum."""
    places = max(len(own(a)), len(own(b)))
    s, c = add(a[:places], b[:places], base)
    steps = labelled(s[:-1], c)
    return asked(a, b), f"{steps}{number(own(s))}\n"


def detailed(a: Digits, b: Digits, base: int) -> Written:
    """Write for every place what is left of the numbers, what there is of the sum, and
    what is added; then the sum, digit by digit.
    """
    places = max(len(own(a)), len(own(b)))
    s, c = add(a[:places], b[:places], base)
    a_left, b_left = own(a), own(b)
    lines = ["<scratch>"]
    for x in (a_left, b_left):
        lines.append(f"{listed(x)} has {spelled(len(x), base)} digits.")
    for i, carry in enumerate([0, *c[:-1]]):
        total = spelled(a[i] + b[i] + carry, base)
        lines.append(
            f"{listed(a_left[i:])} + {listed(b_left[i:])} , A={listed(s[:i])} ,"
            f" C={carry} , {a[i]}+{b[i]}+{carry}={total} , A->{s[i]} , C->{c[i]}"
        )
    lines.append(f"[] + [] , A={listed(s[:places])} C={c[-1]} , END")
    lines += ["</scratch>", " ".join(number(own(s)))]
    return asked(a, b), "\n".join(lines) + "\n"


FORMATS: dict[str, Format] = {
    "plain": plain,
    "reverse": reverse,
    "simplified": simplified,
    "detailed": detailed,
}


def labelled(digits: Digits, carries: Digits) -> str:
    """Write the lines of the simplified scratchpad."""
    pairs = zip(digits, carries, strict=True)
    return "\n".join(f"A->{digit} , C->{carry}" for digit, carry in pairs) + ".\n"


def asked(a: Digits, b: Digits) -> str:
    """Write what stands in front of a scratchpad."""
    return f"Input:\n{number(own(a))}+{number(own(b))}\nTarget:\n"


def number(digits: Digits) -> str:
    """Write all digits that are given, the highest first: 0495."""
    return "".join(map(str, reversed(digits)))


def listed(digits: Digits) -> str:
    """Write digits as a list, the highest first: [4,9,5]."""
    return f"[{','.join(number(digits))}]"


def spelled(value: int, base: int) -> str:
    """Write a small number in a base."""
    return np.base_repr(value, base)


def own(digits: Digits) -> Digits:
    """Leave out the zeros in front, all but the last digit of 0."""
    length = max((i for i, digit in enumerate(digits) if digit), default=0)
    return digits[: length + 1]


# ---------------------------------------------------------------------------- training


def write(problems: Problems, form: Format) -> Lines:
    """Write problems as rows of characters, padded on the right.

    Raises:
        ValueError: the problems are no sums, or their base is above 10.
    """
    if problems.operation != "+" or problems.base > 10:
        raise ValueError(
            f"problems of {problems.operation!r} in base {problems.base}; formats write"
            " sums, in bases up to 10"
        )
    pairs = zip(problems.a.tolist(), problems.b.tolist(), strict=True)
    rows = [form(a, b, problems.base) for a, b in pairs]
    words = vocabulary(problems.base)
    tokens = [words.encode(given + answer) for given, answer in rows]
    prompt = torch.tensor([len(given) for given, _ in rows])
    return Lines(pad_sequence(tokens, batch_first=True), prompt)


def answer_loss(
    model: nn.Module,
    tokens: Int[Tensor, "batch length"],
    answer: Bool[Tensor, "batch length"],
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the characters that a network has to write; what it
    is given is read and not learnt.
    """
    return next_token_loss(model(tokens), tokens, answer)  # eq. 4
