"""The table of sums: which cells are where, and what follows from those that are revealed."""

import numpy as np
import pytest
import torch

from stages.papers.mechanisms.common.completion import Table, completion_threshold, make_table, recovered

KEPT = (("102", "231"), ("333", "111"))


def value(digits, base=4):
    return (digits * base ** torch.arange(digits.shape[1])).sum(1)


@pytest.fixture(scope="module")
def table():
    return make_table(4, 3, 150, 0, KEPT)


def test_every_cell_is_one_problem_of_full_length(table):
    for cells in (table.train, table.test, table.new):
        problems = table.problems(cells)
        assert torch.equal(torch.stack([value(problems.a), value(problems.b)], 1), cells + 16)
        assert problems.a[:, -1].min() > 0
        assert problems.b[:, -1].min() > 0
    assert len(make_table(10, 2, 50, 0).problems(torch.tensor([[0, 89]])).a) == 1
    first = make_table(10, 2, 50, 0).problems(torch.tensor([[0, 89]]))
    assert (value(first.a, 10).item(), value(first.b, 10).item()) == (10, 99)


def test_no_test_problem_is_ever_in_training_and_hidden_numbers_are_in_neither_place(table):
    train_cells, test, new = ({tuple(c) for c in cells.tolist()} for cells in table[:3])
    assert len(train_cells) == len(table.train)  # none twice
    assert not train_cells & test
    numbers = set(table.train.flatten().tolist())
    assert len(numbers) == 48 - 6
    assert not {i for i, _ in new} & numbers
    assert {j for _, j in new} <= numbers
    fixed = {tuple(int(x, 4) - 16 for x in pair) for pair in KEPT}
    assert not fixed & (train_cells | test | new)
    assert {x for pair in fixed for x in pair} <= numbers


def test_a_seed_decides_the_order(table):
    assert all(torch.equal(x, y) for x, y in zip(table[:3], make_table(4, 3, 150, 0, KEPT)[:3], strict=True))
    assert not torch.equal(table.train, make_table(4, 3, 150, 1, KEPT).train)


# ---- completing it


def test_a_cell_follows_exactly_if_linear_algebra_says_so(table):
    """M = u 1' + 1 v' is linear in u and v: a cell is known iff its row lies in the span of the revealed ones."""
    small = make_table(4, 2, 40, 3)
    n = 12

    def equations(cells):
        return np.concatenate([np.eye(n)[cells[:, 0]], np.eye(n)[cells[:, 1]]], 1)

    for samples in (8, 15, 25, 60):
        known = equations(small.train[:samples])
        rank = np.linalg.matrix_rank(known)
        span = [np.linalg.matrix_rank(np.vstack([known, row])) == rank for row in equations(small.test)]
        assert recovered(small, samples, small.test).tolist() == span
    assert 0 < recovered(small, 15, small.test).mean() < 1


def test_what_follows_is_the_sum(table):
    """M_ij = M_ik - M_lk + M_lj for sums, which the product rule of the released code does not give."""
    i, j, k, m = (torch.randint(0, 48, (200,)) + 16 for _ in range(4))
    assert torch.equal(i + j, (i + k) - (m + k) + (m + j))
    assert not torch.allclose((i + j).double(), (i + k).double() * (m + j) / (m + k))


def test_the_threshold_is_the_first_number_that_is_enough(table):
    whole, half = completion_threshold(table), completion_threshold(table, 0.5)
    shown = torch.unique(table.train)
    everything = torch.cartesian_prod(shown, shown)
    assert recovered(table, whole, everything).all()
    assert not recovered(table, whole - 1, everything).all()
    assert recovered(table, half, table.test).mean() >= 0.5 > recovered(table, half - 1, table.test).mean()
    assert not recovered(table, len(table.train), table.new).any()  # no cell of a row, no path to it


def test_thresholds_of_a_table_of_a_hundred_are_the_dossiers():
    """About 550 cells until all of a 100 x 100 table follows, and 90 % of its cells after about 300."""
    n, found = 100, []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(n * n)
        cells = torch.from_numpy(np.stack([order // n, order % n], 1))
        big = Table(cells, cells[-1000:], cells[:0], 10, 2)
        big = big._replace(base=101, digits=1)  # one digit in base 101: the numbers 1 to 100
        found.append((completion_threshold(big), completion_threshold(big, 0.9)))
    whole, most = np.median(found, 0)
    assert 460 < whole < 650
    assert 230 < most < 370
