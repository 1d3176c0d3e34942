"""What a problem is, how it is solved exactly, and how a set of problems is drawn and
balanced.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from stages.seeding import rng

OPERATIONS = ("+", "-", "*")
BASES = range(2, 37)
ROUNDS = 1000  # of drawing what may be refused
Digits = Int[Tensor, "n digits"]
Pairs = Int[np.ndarray, "2 n digits"]


@dataclass(frozen=True)
class Problems:
    """a + b, a - b or a * b: the operands' digits, the least significant first, zeros
    above a number's own digits.
    """

    a: Digits
    b: Digits
    operation: str = "+"
    base: int = 10

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, index: slice | Tensor) -> "Problems":
        """Take problems by a slice, a mask, or a tensor of indices."""
        return type(self)(self.a[index], self.b[index], self.operation, self.base)

    def solve(self) -> tuple[Digits, Bool[Tensor, " n"]]:
        """Return the digits of the result's size, the least significant first, and
        whether it is negative.

        A sum has one digit more than the operands, a difference as many, a product
        twice as many.
        """
        a, b = self.a, self.b
        negative = torch.zeros(len(a), dtype=torch.bool)
        if self.operation == "+":
            columns = torch.cat([a + b, torch.zeros_like(a[:, :1])], 1)
        elif self.operation == "-":
            negative = settle(a - b, self.base)[1][:, -1] < 0
            columns = torch.where(negative[:, None], b - a, a - b)
        else:
            columns = torch.zeros(len(a), 2 * a.shape[1], dtype=torch.int64)
            for i, digit in enumerate(a.split(1, 1)):
                columns[:, i : i + b.shape[1]] += digit * b
        return settle(columns, self.base)[0], negative

    @property
    def carries(self) -> Bool[Tensor, "n digits"]:
        """Which digits of a + b carry into the next one."""
        return settle(self.a + self.b, self.base)[1] > 0

    @property
    def chain(self) -> Int[Tensor, " n"]:
        """How many digits the longest run of carries in a + b goes through."""
        run = longest = torch.zeros(len(self), dtype=torch.int64)
        for carry in self.carries.unbind(1):
            run = (run + 1) * carry
            longest = torch.maximum(longest, run)
        return longest


def settle(columns: Digits, base: int) -> tuple[Digits, Digits]:
    """Carry what is too much (or borrow what is too little) for a digit: the digits,
    and the carry out of each.
    """
    digits, carries = [], [torch.zeros_like(columns[:, 0])]
    for column in columns.unbind(1):
        total = column + carries[-1]
        digits.append(total % base)
        carries.append(total // base)
    return torch.stack(digits, 1), torch.stack(carries[1:], 1)


def lengths(digits: Digits) -> Int[Tensor, " n"]:
    """Return how many digits a number is written with, 1 for zero."""
    return ((digits != 0) * torch.arange(1, digits.shape[1] + 1)).amax(1).clamp(min=1)


def sample(
    n: int,
    digits: int,
    seed: int,
    *,
    base: int = 10,
    operation: str = "+",
    balance: str | None = None,
    exclude: Problems | None = None,
    stream: Sequence[str | int] = (),
) -> Problems:
    """Draw problems with operands of up to `digits` digits, with repetition; a balanced
    set is in random order.

    Args:
        n: how many problems.
        digits: of the longest operands.
        seed: with `stream`, decides everything.
        base: of the digits, 2 to 36.
        operation: "+", "-" or "*"; a difference may be negative.
        balance: None draws both operands evenly below base**digits. "carries" takes
            every sum of one digit once, 9 % of numbers below base**2 and of each
            further length but the last, and the rest below base**digits, such that each
            number of carries in a + b is as frequent as any other. "lengths" takes
            every sum of one digit once and as many problems of each further length of
            the longer operand as are proportional to it, the length of the shorter
            operand spread evenly.
        exclude: problems that must not be drawn, as those of training in a test.

    Raises:
        ValueError: an unknown word, too few problems for a balance, or nothing left to
            draw.
    """
    if (
        operation not in OPERATIONS
        or balance not in (None, "carries", "lengths")
        or base not in BASES
    ):
        raise ValueError(
            f"{operation=}, {balance=}, {base=}: choose from {', '.join(OPERATIONS)},"
            f" from None, 'carries', 'lengths' and from {BASES[0]} to {BASES[-1]}"
        )
    if n < 1 or digits < 1:
        raise ValueError(
            f"asked for {n} problems of {digits} digits; ask for 1 or more of each"
        )
    random = rng(seed, "arithmetic", *stream)
    if balance is None:
        pairs = _evenly(n, digits, base, random, exclude)
    else:
        if digits < 2 or n < base**2 or exclude is not None:
            raise ValueError(
                f"{n} problems of {digits} digits cannot be balanced: it takes 2"
                f" digits, room for all {base**2} sums of one digit, and nothing to"
                " exclude"
            )
        one = np.zeros((2, base**2, digits), np.int64)
        one[:, :, 0] = np.indices((base, base)).reshape(2, -1)
        others = (_by_carries if balance == "carries" else _by_lengths)(
            n, digits, base, random
        )
        pairs = np.concatenate([one, others], 1)[:, random.permutation(n)]
    return Problems(*torch.from_numpy(np.ascontiguousarray(pairs)), operation, base)


def _evenly(
    n: int,
    digits: int,
    base: int,
    random: np.random.Generator,
    exclude: Problems | None,
) -> Pairs:
    if exclude is None:
        return random.integers(0, base, (n, 2, digits)).swapaxes(0, 1)
    if exclude.a.shape[1] != digits or exclude.base != base:
        raise ValueError(
            f"the problems to exclude have {exclude.a.shape[1]} digits in base"
            f" {exclude.base}; those to draw have {digits} in base {base}"
        )
    seen, drawn = _keys(np.stack([exclude.a.numpy(), exclude.b.numpy()])), []
    for _ in range(ROUNDS):
        pairs = random.integers(0, base, (2 * n, 2, digits)).swapaxes(0, 1)
        drawn.append(pairs[:, ~np.isin(_keys(pairs), seen)])
        if sum(part.shape[1] for part in drawn) >= n:
            return np.concatenate(drawn, 1)[:, :n]
    raise ValueError(
        f"hardly any problem of {digits} digits in base {base} is left that is not"
        " excluded"
    )


def _keys(pairs: Pairs) -> np.ndarray:
    """One string of bytes a problem, equal for equal operands."""
    flat = np.ascontiguousarray(np.concatenate(pairs, 1).astype(np.uint8))
    return flat.view(f"S{flat.shape[1]}")[:, 0]


def _by_carries(n: int, digits: int, base: int, random: np.random.Generator) -> Pairs:
    """All but the sums of one digit, drawn evenly and refused where their number of
    carries has had its share.
    """
    short = n * 9 // 100
    counts = [*[short] * (digits - 2), n - base**2 - short * (digits - 2)]
    share = np.full(digits + 1, math.ceil(n / (digits + 1)))
    share[:2] -= [
        base * (base + 1) // 2,
        base * (base - 1) // 2,
    ]  # what the sums of one digit have had
    parts = []
    for length, count in enumerate(counts, 2):
        for _ in range(ROUNDS):
            if count <= 0:
                break
            pairs = np.zeros((2, 4 * count + 64, digits), np.int64)
            pairs[:, :, :length] = random.integers(0, base, (2, pairs.shape[1], length))
            carries = (
                Problems(*torch.from_numpy(pairs), "+", base).carries.sum(1).numpy()
            )
            rank = (np.eye(digits + 1, dtype=np.int64)[carries].cumsum(0) - 1)[
                np.arange(len(carries)), carries
            ]
            kept = np.flatnonzero(rank < share[carries])[:count]
            parts.append(pairs[:, kept])
            share -= np.bincount(carries[kept], minlength=digits + 1)
            count -= len(kept)
        if count:
            raise ValueError(
                f"{n} problems of {digits} digits in base {base} cannot be balanced;"
                " ask for more"
            )
    return np.concatenate(parts, 1)


def _by_lengths(n: int, digits: int, base: int, random: np.random.Generator) -> Pairs:
    """All but the sums of one digit, a length of i digits i times as often as a single
    digit would be.
    """
    unit = int((n - base**2) / (digits * (digits + 1) / 2 - 1))
    counts = [i * unit for i in range(2, digits + 1)]
    counts[0] += n - base**2 - sum(counts)
    longer = np.repeat(np.arange(2, digits + 1), counts)
    shorter = np.concatenate(
        [np.arange(count) % i + 1 for i, count in enumerate(counts, 2)]
    )
    of = np.stack([longer, shorter])[..., None]
    place = np.arange(digits)
    pairs = random.integers(place == of - 1, base, (2, len(longer), digits)) * (
        place < of
    )
    swap = random.random(len(longer)) < 0.5
    return np.where(swap[:, None], pairs[::-1], pairs)
