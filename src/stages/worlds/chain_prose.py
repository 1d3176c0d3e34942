"""Prose about the plain chains of `stages.worlds.chains`, and a judge of how they are
solved.

A text tells what somebody has and what is done to it, asks, and answers in words, "what
has mia ? mia has 5 ." Drills are sums of one operation, "3 + two = 5 ." Neither shows a
scratch pad, nor the marks that divide its steps: how to work in steps is for
post-training to teach. `check` reads such written work, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng
from stages.worlds import chains
from stages.worlds.chains import SIGNS, SPELLED, Chains
from stages.worlds.vocabulary import PAD, Vocabulary, join

WORLD = {"modulus": 7, "largest": 6, "plain": True, "distractors": 0}
SENTENCE, ASK, STEP, SUM = 5, 4, 7, 6  # tokens of a sentence, question, step, sum
MOST = 4  # changes in a text


def vocabulary() -> Vocabulary:
    """Return the words of prose and scratch pad."""
    return chains.vocabulary(WORLD["modulus"], WORLD["plain"])


def sample(
    n: int, seed: int, steps: int | tuple[int, int], stream: Sequence[str | int] = ()
) -> Chains:
    """Draw plain problems modulo 7 about one person; see `chains.sample`."""
    return chains.sample(n, seed, steps=steps, stream=stream, **WORLD)


# ----------------------------------------------------------------------------- the text


def told(problems: Chains, between: Bool[Tensor, " n"]) -> Int[Tensor, "n length"]:
    """Tell problems with their answers, as tokens with the pads on the right.

    Args:
        between: whose values after each change but the last are told, too: "mia has 3
            first . mia adds two more . mia has 5 ."
    """
    values = problems.values[:, : problems.operand.shape[1] + 1]
    sentences = problems.question[:, :-ASK].unflatten(1, (-1, SENTENCE))
    asked = problems.question[:, -ASK:]
    last = sentences.shape[1] - 1
    step = torch.arange(last + 1) - (last - problems.steps[:, None])
    inner = (step >= 1) & (step < problems.steps[:, None]) & between[:, None]
    value = values.gather(1, step.clamp(min=0))
    said = _has(asked[:, -2, None], value) * inner[..., None]
    story = torch.cat([sentences, said], 2).flatten(1)
    return join(story, asked, _has(asked[:, -2], problems.answer))


def documents(
    n: int, seed: int, between: float = 0.1, stream: Sequence[str | int] = ()
) -> Int[Tensor, "n length"]:
    """Write texts of one to four changes, as tokens with the pads on the right.

    Args:
        n: how many.
        seed, stream: decide everything.
        between: the share of texts that tell the values between, too.
    """
    problems = sample(n, seed, (1, MOST), ("chain prose", *stream))
    chance = rng(seed, "chain prose", "between", *stream)
    return told(problems, torch.from_numpy(chance.random(n) < between))


def drills(
    n: int, seed: int, sums: int = 10, stream: Sequence[str | int] = ()
) -> Int[Tensor, "n length"]:
    """Write sums of one operation in a row, "4 . 5 * two = 3 . 6 + one = 0 . 2 -".

    A row is cut out anywhere, so that a sum may stand at any place of it.

    Args:
        n: how many rows, each as long as `sums` sums.
        seed, stream: decide everything.
    """
    problems = sample(n * (sums + 1), seed, 1, ("chain prose", "drills", *stream))
    stop = vocabulary().encode(".").expand(len(problems), 1)
    each = torch.cat([problems.written[:, 0, 1:-1], stop], 1)  # without "<" and ">"
    chance = rng(seed, "chain prose", "cuts", *stream)
    start = torch.from_numpy(chance.integers(SUM, size=(n, 1)))
    return each.view(n, -1).gather(1, start + torch.arange(sums * SUM))


def _has(
    name: Int[Tensor, "*shape"], value: Int[Tensor, "*shape"]
) -> Int[Tensor, "*shape 4"]:
    """Tell what somebody has: "mia has 5 ."."""
    has, stop = vocabulary().encode("has .")
    columns = torch.broadcast_tensors(name, has, value + 1, stop)
    return torch.stack(columns, -1)


# -------------------------------------------------------------------- worked solutions


def worked(problems: Chains) -> Int[Tensor, "n length"]:
    """Write solutions on a scratch pad, "< 3 + two = 5 > ... <answer> 5 <end>", as
    tokens with the pads on the right.
    """
    answer, end = vocabulary().encode("<answer> <end>")
    close = torch.stack(torch.broadcast_tensors(answer, problems.answer + 1, end), -1)
    return join(problems.written.flatten(1), close)


RIGHT, FORMAT, REASON, CALC = range(4)
CLASSES = ("right", "format", "reason", "calc")


@dataclass(frozen=True)
class Checked:
    """Solutions, parsed and judged.

    A solution's pieces are its steps and, last, its answer. A piece is right, or the
    fault is its FORMAT (it is neither a step nor an answer that "<end>" follows), its
    REASON (not the problem's next operation and operand, or an answer before or after
    its time), or its CALC (the right plan, but a wrong value). A step is judged by what
    was written before it: it starts from the value that the last step left.

    Attributes:
        before, sign, operand, after: of each step as it is written, in numbers, `sign`
            counting SIGNS; -1 where there is no readable step.
        written: how many readable steps come before the first piece that is none.
        answer: the number that is answered, where the solution can be read to its end;
            -1 where it cannot.
        pieces: the class of each piece, -1 beyond the last. Column k is step k, or the
            answer where k is `written`.
        error: the class of the first piece that is not right; RIGHT where all are.
        first_wrong: that piece's place, counted from 0; -1 where all are right.
    """

    before: Int[Tensor, "n most"]
    sign: Int[Tensor, "n most"]
    operand: Int[Tensor, "n most"]
    after: Int[Tensor, "n most"]
    written: Int[Tensor, " n"]
    answer: Int[Tensor, " n"]
    pieces: Int[Tensor, "n most+1"]
    error: Int[Tensor, " n"]
    first_wrong: Int[Tensor, " n"]

    @property
    def parsable(self) -> Bool[Tensor, " n"]:
        """Which solutions can be read from the first step to "<end>"."""
        return self.answer >= 0


def check(problems: Chains, solutions: Int[Tensor, "n length"]) -> Checked:
    """Parse written solutions, and judge every piece of them.

    Args:
        solutions: what is written after the question, as tokens; what follows the first
            "<end>" does not count.
    """
    words, modulus = vocabulary(), problems.modulus
    left, equals, right, answer, end = words.encode("< = > <answer> <end>").tolist()
    most = max(solutions.shape[1] // STEP, problems.sign.shape[1]) + 1
    room = most * STEP - solutions.shape[1]
    rows = F.pad(solutions, (0, max(room, 0)), value=PAD)
    rows = rows[:, : most * STEP].unflatten(1, (most, STEP))

    signs = words.encode(" ".join(SIGNS))
    operands = words.encode(" ".join(SPELLED))
    sign, operand = _place(rows[..., 2], signs), _place(rows[..., 3], operands) + 1
    before, after = rows[..., 1] - 1, rows[..., 5] - 1
    numbers = [(value >= 0) & (value < modulus) for value in (before, after)]
    marks = [rows[..., i] == mark for i, mark in ((0, left), (4, equals), (6, right))]
    step = torch.stack([*numbers, *marks, sign >= 0, operand >= 1]).all(0)
    step = step.cumprod(1).bool()  # up to the first that is none
    written = step.sum(1)
    before, sign, operand, after = (
        torch.where(step, part, -1) for part in (before, sign, operand, after)
    )

    # the piece behind the steps is the answer, or nothing that can be read
    last = rows[torch.arange(len(rows)), written.clamp(max=most - 1)]
    number = last[:, 1] - 1
    closed = (last[:, 0] == answer) & (number >= 0) & (number < modulus)
    closed &= (last[:, 2] == end) & (written < most)
    given = torch.where(closed, number, -1)

    # each step against the problem's plan, and against what is written before it
    plan = _wide(problems.sign, most), _wide(problems.operand, most)
    planned = (sign == plan[0]) & (operand == plan[1])
    start = torch.cat([problems.values[:, :1], after[:, :-1]], 1)
    result = torch.stack([start + operand, start - operand, start * operand], -1)
    result = result.gather(2, sign.clamp(min=0)[..., None])[..., 0] % modulus
    valued = (before == start) & (after == result)
    pieces = torch.where(planned, torch.where(valued, RIGHT, CALC), REASON)
    pieces = torch.where(step, pieces, -1)

    reached = torch.cat([problems.values[:, :1], after], 1).gather(1, written[:, None])
    valued = given == reached[:, 0]
    ends = torch.where(valued, RIGHT, CALC)
    ends = torch.where(written == problems.steps, ends, REASON)
    ends = torch.where(closed, ends, FORMAT)
    pieces = F.pad(pieces, (0, 1), value=-1)
    pieces = pieces.scatter(1, written[:, None], ends[:, None])

    wrong = pieces > RIGHT
    first = wrong.int().argmax(1)
    error = pieces.gather(1, first[:, None])[:, 0]
    found = wrong.any(1)
    return Checked(
        before,
        sign,
        operand,
        after,
        written,
        given,
        pieces,
        torch.where(found, error, RIGHT),
        torch.where(found, first, -1),
    )


def _place(
    tokens: Int[Tensor, "*shape"], among: Int[Tensor, " tokens"]
) -> Int[Tensor, "*shape"]:
    """Return each token's place among some; -1 for one that is not there."""
    same = tokens[..., None] == among
    return torch.where(same.any(-1), same.int().argmax(-1), -1)


def _wide(numbers: Int[Tensor, "n some"], most: int) -> Int[Tensor, "n most"]:
    """Add columns of -1."""
    return F.pad(numbers, (0, most - numbers.shape[1]), value=-1)
