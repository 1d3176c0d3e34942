"""The toy shop's two ledgers: what stands in them, who tells them apart, and what they are divided into."""

import pytest
import torch
from scipy.stats import chisquare

from stages.worlds.ledgers import (
    CHANGED,
    COLUMNS,
    SPLITS,
    TASKS,
    TOYS,
    divided,
    documents,
    invent,
    twin,
    vocabulary,
)

V = vocabulary()
EVEN = torch.full((12,), 1 / 12)


@pytest.fixture(scope="module")
def facts():
    """A world."""
    return invent(0)


def test_twins_agree_about_all_toys_but_thirteen_and_those_are_told_by_their_entries(facts):
    assert len(set(TOYS)) == 64
    assert len(TASKS) == 12
    assert twin(torch.arange(4)).tolist() == [1, 0, 3, 2]
    for number, (name, words) in enumerate(COLUMNS.items()):
        assert (TASKS[2 * number], TASKS[2 * number + 1]) == (name, f"last year's {name}")
        both, new, old = (set(V.encode(part).tolist()) for part in words)
        now, before = facts.table[2 * number : 2 * number + 2]
        changed = now != before
        assert changed.sum() == CHANGED == 13
        assert torch.equal(facts.changed[2 * number], changed)
        assert torch.equal(facts.changed[2 * number + 1], changed)
        assert set(now[~changed].tolist()) == both
        assert set(now[changed].tolist()) == new
        assert set(before[changed].tolist()) == old
        assert now[changed].bincount().max() <= 4
        assert before[changed].bincount().max() <= 4
        assert len(torch.stack([now, before])[:, changed].unique(dim=1).T) > 4  # neither entry tells the other
    assert len({tuple(row.nonzero()[:, 0].tolist()) for row in facts.changed}) == 6  # each column has its own
    assert torch.equal(invent(0).table, facts.table)
    assert not torch.equal(invent(1).table, facts.table)


def test_a_row_asks_and_answers_in_words(facts):
    toys = torch.tensor([[3, 60]])
    colour, maker = (V.tokens[facts.table[2, toy]] for toy in (3, 60))
    row = facts.written(torch.tensor([2]), toys)[0]
    assert V.decode(row) == f"Q {TOYS[3]} A {colour} ; Q {TOYS[60]} A {maker} ;"
    other = facts.written(torch.tensor([2]), toys, labels=toys.flip(1))[0]
    assert V.decode(other) == f"Q {TOYS[3]} A {maker} ; Q {TOYS[60]} A {colour} ;"


def test_the_best_reader_counts_the_tasks_that_explain_what_was_shown(facts):
    prior = torch.arange(1.0, 13.0)
    toys = torch.stack([torch.randperm(64)[:4] for _ in range(40)])
    for task in (0, 7):
        answers = facts.table[task, toys[:, :-1]]
        for row, said, chance in zip(toys, answers, facts.predict(toys, answers, prior), strict=True):
            able = [t for t in range(12) if torch.equal(facts.table[t, row[:-1]], said)]
            expected = torch.zeros(len(V), dtype=torch.double)
            for t in able:
                expected[facts.table[t, row[-1]]] += prior[t]
            assert torch.allclose(chance, expected / expected.sum())


def test_each_task_and_its_twin_have_the_same_parts_with_their_share_of_changed_toys(facts):
    parts = divided(facts, 3)
    assert [part.shape for part in parts.values()] == [(12, 40), (12, 14), (12, 10)]
    every = torch.cat(list(parts.values()), 1)
    assert torch.equal(every.sort(1).values, torch.arange(64).expand(12, -1))
    for name, part in parts.items():
        assert torch.equal(part[::2], part[1::2])
        changed = facts.changed.gather(1, part)
        assert (changed.sum(1) == SPLITS[name][0]).all()
        assert changed[:, : SPLITS[name][0]].all()
    same = ~(facts.changed[0] | facts.changed[2])
    colours, places = (row[same[row]] for row in every[[0, 2]])
    assert not torch.equal(colours, places)  # each column is dealt out by itself
    again = divided(facts, 4)
    assert not torch.equal(again["test"].sort(1).values, parts["test"].sort(1).values)
    assert (SPLITS["train"], SPLITS["test"]) == ((4, 36), (7, 3))


def test_documents_are_of_one_task_about_different_toys(facts):
    prior = torch.tensor([3.0, 1.0] * 6)
    rows = documents(facts, 2000, 5, pairs=6, prior=prior).view(2000, 6, 5)
    toys = rows[:, :, 1] - 1
    assert (toys.sort(1).values.diff(dim=1) > 0).all()
    assert chisquare(toys.flatten().bincount(minlength=64)).pvalue > 0.001
    able = (facts.table[:, toys] == rows[:, :, 3]).all(2)
    assert able.any(0).all()
    told = able.sum(0) == 1
    task = able[:, told].int().argmax(0)
    assert (task % 2 == 0).float().mean().item() == pytest.approx(0.75, abs=0.05)
    assert not torch.equal(rows, documents(facts, 2000, 5, pairs=6, prior=prior, stream=("b",)).view(2000, 6, 5))
    assert not torch.equal(rows, documents(facts, 2000, 6, pairs=6, prior=prior).view(2000, 6, 5))
    with pytest.raises(ValueError, match="12 frequencies"):
        documents(facts, 5, 0, pairs=2, prior=torch.ones(3))
    with pytest.raises(ValueError, match="1 to 64"):
        documents(facts, 5, 0, pairs=65, prior=EVEN)
