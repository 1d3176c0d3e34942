"""A gate is a number with a bound, measured on all seeds."""

import re

import pandas as pd
import pytest

from stages.evidence import Gate
from stages.evidence.gates import failed, measure_gates


def gate(**bounds):
    return Gate("it works", "new", "accuracy", **bounds)


@pytest.fixture
def scores():
    """Means over two seeds: new 62, old 50."""
    values = [("new", 60.0, 0), ("new", 64.0, 1), ("old", 50.0, 0), ("old", 50.0, 1)]
    rows = [{"seed": seed, "method": m, "metric": "accuracy", "value": value} for m, value, seed in values]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("bounds", "said", "value", "met"),
    [
        ({"least": 60}, "at least 60", 62, True),
        ({"least": 62.0}, "at least 62", 62, True),
        ({"least": 62.5}, "at least 62.5", 62, False),
        ({"most": 62}, "at most 62", 62, True),
        ({"most": 61}, "at most 61", 62, False),
        ({"least": 61, "most": 63}, "at least 61 and at most 63", 62, True),
        ({"least": 63, "most": 64}, "at least 63 and at most 64", 62, False),
        ({"minus": "old", "least": 12}, "at least 12", 12, True),
        ({"minus": "old", "most": 11.5}, "at most 11.5", 12, False),
        ({"least": 0, "most": 0}, "at least 0 and at most 0", 62, False),
    ],
)
def test_the_mean_over_seeds_is_held_against_the_bound(scores, bounds, said, value, met):
    (row,) = measure_gates([gate(**bounds)], scores)
    assert row == {"name": "it works", "value": value, "bound": said, "met": met}


def test_a_gate_without_a_bound_is_refused():
    with pytest.raises(ValueError, match="the gate 'it works' has no bound; give least or most"):
        gate(minus="old")


def test_only_gates_that_fail_are_named(scores):
    rows = measure_gates([gate(least=60), gate(least=70), gate(minus="old", most=1)], scores)
    assert failed(rows) == ["it works: 62, wanted at least 70", "it works: 12, wanted at most 1"]
    assert failed(rows[:1]) == []


@pytest.mark.parametrize("absent", [[0], [0, 1]])
@pytest.mark.parametrize("method", ["new", "old"])
def test_a_score_that_is_absent_is_an_error(scores, absent, method):
    some = scores[~((scores["method"] == method) & scores["seed"].isin(absent))]
    some = pd.concat([some, scores[scores["method"] == method].assign(metric="loss")])
    said = re.escape(f"gate 'it works': no accuracy of '{method}' for seeds {absent}")
    with pytest.raises(ValueError, match=said):
        measure_gates([gate(minus="old", least=0)], some)
