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

    train: Int[Tensor, "cells 2"]
    test: Int[Tensor, "test 2"]
    new: Int[Tensor, "new 2"]
    base: int
    digits: int

    def problems(self, cells: Int[Tensor, "n 2"], operation: str = "+") -> Problems:
        """Return the problems of cells; row and column 0 stand for the smallest number
        with all its digits.
        """
        place = self.base ** torch.arange(self.digits)
        a, b = ((cells[:, i, None] + place[-1]) // place % self.base for i in (0, 1))
        return Problems(a, b, operation, self.base)


def make_table(
    base: int, digits: int, test: int, seed: int, keep: Sequence[tuple[str, str]] = ()
) -> Table:
    """Draw the order of a table's cells, up to `test` in each test set; an eighth of
    the numbers is never in training.

    Problems to `keep`, as pairs of written numbers, are in none of the sets, but their
    numbers are in training.
    """
    n, low = (base - 1) * base ** (digits - 1), base ** (digits - 1)
    kept = (
        np.array([[int(x, base) for x in pair] for pair in keep], int).reshape(-1, 2)
        - low
    )
    numbers, order, others = (
        rng(seed, "table", base, digits, name) for name in ("numbers", "cells", "new")
    )
    numbers = numbers.permutation(n)
    hidden = numbers[~np.isin(numbers, kept)][: n // 8]
    shown = np.setdiff1d(numbers, hidden)
    cells, new = (
        np.stack(np.meshgrid(rows, shown, indexing="ij"), -1).reshape(-1, 2)
        for rows in (shown, hidden)
    )
    cells = order.permutation(cells[~np.isin(cells @ [n, 1], kept @ [n, 1])])
    test = min(test, len(cells) // 4)
    return Table(
        *map(
            torch.from_numpy,
            (cells[test:], cells[:test], others.permutation(new)[:test]),
        ),
        base,
        digits,
    )


def parts(
    table: Table, samples: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Number the connected parts of the graph of rows and columns whose edges are the
    first cells; one for each.
    """
    n = (table.base - 1) * table.base ** (table.digits - 1)
    row, column = table.train[:samples].numpy().T
    graph = coo_array((np.ones(len(row)), (row, n + column)), shape=(2 * n, 2 * n))
    return tuple(connected_components(graph, directed=False)[1].reshape(2, n))


def recovered(
    table: Table, samples: int, cells: Int[Tensor, "cells 2"]
) -> Bool[np.ndarray, " cells"]:
    """Return which cells follow from the first `samples`, if all that is known is M_ij
    = r_i + c_j.

    M_ij = M_ik - M_lk + M_lj: a cell follows if and only if a path of revealed cells
    leads from its row to its column.
    """
    (rows, columns), (i, j) = parts(table, samples), cells.numpy().T
    return rows[i] == columns[j]


def completion_threshold(table: Table, share: float | None = None) -> int:
    """Return how many cells recover a share of the test cells; None: all rows and
    columns that training shows at all.

    What is recovered stays so, and halving intervals finds the number.
    """
    shown, low, high = torch.unique(table.train).numpy(), 0, len(table.train)
    while high - low > 1:
        middle = (low + high) // 2
        if share is None:
            enough = len(np.unique([part[shown] for part in parts(table, middle)])) == 1
        else:
            enough = recovered(table, middle, table.test).mean() >= share
        low, high = (low, middle) if enough else (middle, high)
    return high
