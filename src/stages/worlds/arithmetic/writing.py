"""Problems as characters, in the forms that Lee et al. (2024) compare, and back.

128+367 is written::

  plain      128+367=495
  reverse    128+367=594
  simplified Input:\\n128+367\\nTarget:\\nA->5 , C->1\\nA->9 , C->0\\nA->4 , C->0.\\n495
  detailed   Input:\\n128+367\\nTarget:\\n<scratch>\\n[1,2,8] has 3 digits.\\n
             [3,6,7] has 3 digits.\\n
             [1,2,8] + [3,6,7] , A=[] , C=0 , 8+7+0=15 , A->5 , C->1\\n
             ... and so for every digit ...
             [] + [] , A=[4,9,5] C=0 , END\\n</scratch>\\n4 9 5
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.arithmetic.problems import BASES, Digits, Problems, lengths, settle
from stages.worlds.vocabulary import PAD, Vocabulary, join

FORMS = ("plain", "reverse", "simplified", "detailed")
SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyz"
CHARACTERS = "\n $=+-*,.:[]<>/" + "Input:Target:<scratch> has digits.A->C->END"
RESULT = {
    "plain": r"=(-?[{0}]+)\$?\n",
    "reverse": r"=([{0}]+-?)\$?\n",
    "simplified": r"\.\n([{0}]+)\n",
    "detailed": r"</scratch>\n([{0}](?: [{0}])*)\n",
}
Text = Int[Tensor, "n length"]
Pieces = list[Int[Tensor, "..."]]  # (n, characters), or (characters) for all rows alike


@dataclass(frozen=True)
class Lines:
    """Problems as text: rows of characters, padded on the right, and how long the part
    is that a model is given.
    """

    tokens: Text
    prompt: Int[Tensor, " n"]

    @property
    def answer(self) -> Bool[Tensor, "n length"]:
        """Which characters a model has to write, its intermediate steps and the end of
        the last line included.
        """
        return (torch.arange(self.tokens.shape[1]) >= self.prompt[:, None]) & (
            self.tokens != PAD
        )


@cache
def vocabulary(base: int = 10) -> Vocabulary:
    """Return the characters of all forms; a digit's number is its value plus 1."""
    if base not in BASES:
        raise ValueError(f"the base is {base}; choose from {BASES[0]} to {BASES[-1]}")
    return Vocabulary(dict.fromkeys(SYMBOLS[:base] + CHARACTERS), separator="")


def write(
    problems: Problems,
    form: str = "plain",
    *,
    zeros: bool = False,
    reverse_operands: bool = False,
    delimiter: str = "",
    random_digits: bool = False,
    random_carries: bool = False,
    seed: int = 0,
    stream: Sequence[str | int] = (),
) -> Lines:
    """Write every problem in one of the forms.

    Args:
        problems: what to write.
        form: "plain", "reverse" (the result's least significant digit first, a minus
            sign last), or, for sums, one of the scratchpads "simplified" and
            "detailed".
        zeros, reverse_operands, delimiter: in plain and reverse, write numbers at full
            length, with zeros in front; write the operands' least significant digit
            first; put the paper's "$" before and after the problem.
        random_digits, random_carries: in the simplified scratchpad, write random digits
            A or carries C instead of the true ones; its structure and its last line
            stay right.
        seed: with `stream`, decides these, the digits apart from the carries.

    Raises:
        ValueError: an unknown form, a scratchpad of another operation, or an option
            that the form does not have.
    """
    if form not in FORMS or (form in FORMS[2:] and problems.operation != "+"):
        raise ValueError(
            f"no form {form!r} of {problems.operation!r}; choose from {FORMS}, the last"
            " two for '+' only"
        )
    if form in FORMS[2:] and (zeros or reverse_operands or delimiter):
        raise ValueError(
            "zeros, reverse_operands and the delimiter are for plain and reverse, not"
            f" for {form!r}"
        )
    if delimiter not in ("", "$"):
        raise ValueError(f"the delimiter is '$' or nothing, not {delimiter!r}")
    if form != "simplified" and (random_digits or random_carries):
        raise ValueError(
            "random digits and carries are for the simplified scratchpad, not for"
            f" {form!r}"
        )
    text, (result, negative) = vocabulary(problems.base).encode, problems.solve()
    if form in FORMS[:2]:
        a, b = (_number(x, zeros, reverse_operands) for x in (problems.a, problems.b))
        prompt = [text(delimiter), a, text(problems.operation), b, text("=")]
        signed = [
            negative[:, None] * text("-"),
            _number(result, zeros, form == "reverse"),
        ]
        answer = [
            *(signed if form == "plain" else signed[::-1]),
            text(delimiter + "\n"),
        ]
    else:
        prompt = [
            text("Input:\n"),
            _number(problems.a),
            text("+"),
            _number(problems.b),
            text("\nTarget:\n"),
        ]
        if form == "detailed":
            answer = _detailed(problems, result, text)
        else:
            digits, carries = result[:, :-1], problems.carries.long()
            if random_digits:
                draws = rng(seed, "scratchpad", *stream, "digits").integers(
                    0, problems.base, digits.shape
                )
                digits = torch.from_numpy(draws)
            if random_carries:
                draws = rng(seed, "scratchpad", *stream, "carries").integers(
                    0, 2, carries.shape
                )
                carries = torch.from_numpy(draws)
            answer = [
                *_simplified(problems, digits, carries, text),
                _number(result),
                text("\n"),
            ]
    given = torch.stack([(x != PAD).sum(-1).expand(len(problems)) for x in prompt]).sum(
        0
    )
    return Lines(join(*prompt, *answer), given)


def read(lines: Text, form: str = "plain", base: int = 10) -> list[int | None]:
    """Read the result out of whole lines, prompt and all that a model has written; None
    where there is none.
    """
    if form not in FORMS:
        raise ValueError(f"no form {form!r}; choose from {FORMS}")
    decode, pattern = (
        vocabulary(base).decode,
        re.compile(RESULT[form].format(SYMBOLS[:base])),
    )
    found = [pattern.search(decode(line)) for line in lines.tolist()]
    order = -1 if form == "reverse" else 1
    return [
        int(match[1].replace(" ", "")[::order], base) if match else None
        for match in found
    ]


def _simplified(
    problems: Problems, digits: Digits, carries: Digits, text: Callable[[str], Tensor]
) -> Pieces:
    """One line a digit: what to write (A) and what to carry (C)."""
    steps, pieces = torch.maximum(lengths(problems.a), lengths(problems.b)), []
    for i in range(problems.a.shape[1]):
        line = [
            text("\nA->" if i else "A->"),
            digits[:, i : i + 1] + 1,
            text(" , C->"),
            carries[:, i : i + 1] + 1,
        ]
        pieces += [(steps > i)[:, None] * piece for piece in line]
    return [*pieces, text(".\n")]


def _detailed(
    problems: Problems, result: Digits, text: Callable[[str], Tensor]
) -> Pieces:
    """One line a digit: what is left of the operands, what there is of the result, and
    the sum of the next digit.
    """
    a, b, base = problems.a, problems.b, problems.base
    of_a, of_b = lengths(a), lengths(b)
    steps, carry = torch.maximum(of_a, of_b), torch.zeros_like(a[:, :1])
    pieces = [text("<scratch>\n")]
    for x, of in ((a, of_a), (b, of_b)):
        pieces += [
            *_listed(x, 0, of, text),
            text(" has "),
            _number(_spelled(of, base)),
            text(" digits.\n"),
        ]
    for i in range(a.shape[1]):
        x, y = a[:, i : i + 1], b[:, i : i + 1]
        total = x + y + carry
        line = [
            *_listed(a, i, of_a, text),
            text(" + "),
            *_listed(b, i, of_b, text),
            text(" , A="),
        ]
        line += [
            *_listed(result[:, :i], 0, torch.full_like(of_a, i), text),
            text(" , C="),
            carry + 1,
            text(" , "),
            x + 1,
        ]
        line += [
            text("+"),
            y + 1,
            text("+"),
            carry + 1,
            text("="),
            _number(_spelled(total[:, 0], base)),
        ]
        carry = total // base
        line += [
            text(" , A->"),
            total % base + 1,
            text(" , C->"),
            carry + 1,
            text("\n"),
        ]
        pieces += [(steps > i)[:, None] * piece for piece in line]
    last = problems.carries.gather(1, steps[:, None] - 1).long()
    pieces += [
        text("[] + [] , A="),
        *_listed(result[:, :-1], 0, steps, text),
        text(" C="),
        last + 1,
    ]
    spaced = _listed(result, 0, lengths(result), text)[1]
    return [
        *pieces,
        text(" , END\n</scratch>\n"),
        torch.where(spaced == text(","), text(" "), spaced),
        text("\n"),
    ]


def _number(digits: Digits, zeros: bool = False, reverse: bool = False) -> Text:
    """Write a number without zeros in front, unless they are wanted, its most
    significant digit first or last.
    """
    own = torch.arange(digits.shape[1]) < lengths(digits)[:, None]
    characters = (digits + 1) * (own | zeros)
    return characters if reverse else characters.flip(1)


def _listed(
    digits: Digits, first: int, length: Int[Tensor, " n"], text: Callable[[str], Tensor]
) -> Pieces:
    """Write the digits from place `length` - 1 down to `first` as a list: [1,2]."""
    place = torch.arange(digits.shape[1]).flip(0)[: max(digits.shape[1] - first, 0)]
    there = place < length[:, None]
    comma = (there & (place < length[:, None] - 1)) * text(",")
    return [
        text("["),
        torch.stack([comma, there * (digits[:, place] + 1)], -1).flatten(1),
        text("]"),
    ]


def _spelled(number: Int[Tensor, " n"], base: int) -> Digits:
    """Return the digits of small numbers."""
    columns = torch.zeros(len(number), 8, dtype=torch.int64)
    columns[:, 0] = number
    return settle(columns, base)[0]
