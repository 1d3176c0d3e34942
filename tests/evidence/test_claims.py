from dataclasses import replace
from math import inf

import pytest

from stages.evidence import Claim, in_setting

CLAIM = Claim("C1", "It is better.", "accuracy", "new", "old")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "superior"}, "C1: kind is 'superior'; expected superiority, noninferiority or equivalence"),
        ({"margin": -1.0}, "C1: the margin is -1.0; give its size"),
        ({"kind": "equivalence"}, "C1: a claim of equivalence needs a margin above zero"),
        ({"kind": "noninferiority"}, "C1: a claim of noninferiority needs a margin above zero"),
        ({"over": ("a",)}, "C1: `over` takes two methods, not 1"),
        ({"origin": "theirs"}, "C1: origin is 'theirs'; expected paper or ours"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        replace(CLAIM, **change)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, "new > old"),
        ({"worse": None}, "new > 0"),
        ({"lower_is_better": True}, "new < old"),
        ({"kind": "noninferiority", "margin": 1}, "new ≥ old"),
        ({"kind": "noninferiority", "margin": 1, "lower_is_better": True}, "new ≤ old"),
        ({"kind": "equivalence", "margin": 1, "lower_is_better": True}, "new ≈ old"),
        ({"over": ("a", "b")}, "(new > old) against (a, b)"),
    ],
)
def test_a_comparison_reads_as_it_is_tested(change, shown):
    assert replace(CLAIM, **change).comparison == shown


def test_a_claim_that_holds_everywhere_reads_one_metric_a_setting():
    assert CLAIM.metrics == ("accuracy",)
    everywhere = replace(CLAIM, everywhere=("5 tasks", "20 tasks"))
    assert everywhere.metrics == ("accuracy [5 tasks]", "accuracy [20 tasks]")
    assert everywhere.metrics[0] == in_setting("accuracy", "5 tasks")


@pytest.mark.parametrize(("key", "level"), [("C1", 0.95), ("C1a", 0.99), ("C2", 0.99), ("C10", 0.99)])
def test_only_the_headline_is_judged_at_95_per_cent(key, level):
    assert replace(CLAIM, key=key).level == level


@pytest.mark.parametrize(
    ("kind", "margin", "bounds"),
    [
        ("superiority", 0.0, (0.0, inf)),
        ("superiority", 2.0, (2.0, inf)),
        ("noninferiority", 2.0, (-2.0, inf)),
        ("equivalence", 2.0, (-2.0, 2.0)),
    ],
)
def test_the_bounds_are_where_the_interval_has_to_lie(kind, margin, bounds):
    assert replace(CLAIM, kind=kind, margin=margin).bounds == bounds


def test_a_claim_names_all_that_it_compares():
    assert CLAIM.methods == ("new", "old")
    assert replace(CLAIM, worse=None).methods == ("new",)
    assert replace(CLAIM, over=("a", "b")).methods == ("new", "old", "a", "b")
