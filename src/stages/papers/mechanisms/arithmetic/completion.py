"""The table of all sums of two numbers of one length, and what follows from the cells
that are revealed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from stages.seeding import rng
from stages.worlds.arithmetic import Problems

HIDDEN = 8  # one number of so many is never in training
Cells = Int[Tensor, "cells 2"]


class Table(NamedTuple):
    """All sums of two numbers of full length, as cells of an n x n table, in the order
    in which they are revealed.

    Attributes:
        train: cells (row, column); an experiment with N samples takes the first N.
        test: cells that are never revealed, though others of their rows and columns
            are.
        new: cells in rows of numbers that training never shows, neither as a nor as b.
        base, digits: of the operands; n = base**digits - base**(digits - 1).
    """

    train: Cells
    test: Cells
    new: Cells
    base: int
    digits: int

    @property
    def size(self) -> int:
        """The number of rows, n."""
        return (self.base - 1) * self.base ** (self.digits - 1)

    def problems(self, cells: Cells, places: int | None = None) -> Problems:
        """Return the problems of cells; row and column 0 stand for the smallest number
        with all its digits. Zeros above these fill `places`.
        """
        place = self.base ** torch.arange(places or self.digits)
        numbers = cells + place[self.digits - 1]
        a, b = (numbers[:, i, None] // place % self.base for i in (0, 1))
        return Problems(a, b, "+", self.base)


def make_table(
    base: int, digits: int, test: int, seed: int, keep: Sequence[tuple[str, str]] = ()
) -> Table:
    """Draw the order of a table's cells, up to `test` in each test set; an eighth of
    the numbers is never in training.

    Problems to `keep`, as pairs of written numbers, are in none of the sets, but their
    numbers are in training.
    """
    low = base ** (digits - 1)
    n = (base - 1) * low
    kept = [[int(x, base) - low for x in pair] for pair in keep]
    kept = np.array(kept, int).reshape(-1, 2)
    stream = ("table", base, digits)
    numbers = rng(seed, *stream, "numbers").permutation(n)
    hidden = numbers[~np.isin(numbers, kept)][: n // HIDDEN]
    shown = np.setdiff1d(numbers, hidden)
    cells = _cells(shown, shown)
    cells = cells[~np.isin(cells @ [n, 1], kept @ [n, 1])]
    cells = rng(seed, *stream, "cells").permutation(cells)
    test = min(test, len(cells) // 4)
    new = rng(seed, *stream, "new").permutation(_cells(hidden, shown))[:test]
    sets = (torch.from_numpy(part) for part in (cells[test:], cells[:test], new))
    return Table(*sets, base, digits)


def _cells(rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " m"]) -> np.ndarray:
    """All cells of some rows and columns, (n m, 2)."""
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def parts(
    table: Table, samples: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Number the connected parts of the graph of rows and columns whose edges are the
    first cells; one for each.
    """
    n = table.size
    row, column = table.train[:samples].numpy().T
    graph = coo_array((np.ones(len(row)), (row, n + column)), shape=(2 * n, 2 * n))
    return tuple(connected_components(graph, directed=False)[1].reshape(2, n))


def recovered(table: Table, samples: int, cells: Cells) -> Bool[np.ndarray, " cells"]:
    """Return which cells follow from the first `samples`, if all that is known is M_ij
    = r_i + c_j.

    M_ij = M_ik - M_lk + M_lj: a cell follows if and only if a path of revealed cells
    leads from its row to its column.
    """
    rows, columns = parts(table, samples)
    i, j = cells.numpy().T
    return rows[i] == columns[j]  # eq. 5


def threshold(table: Table) -> int:
    """Return how many cells recover all rows and columns that training shows at all.

    What is recovered stays so, and halving intervals finds the number.
    """
    shown = torch.unique(table.train).numpy()
    low, high = 0, len(table.train)
    while high - low > 1:
        middle = (low + high) // 2
        one = {number for part in parts(table, middle) for number in part[shown]}
        if len(one) == 1:
            high = middle
        else:
            low = middle
    return high
